package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

const (
	testNamespace = "palisade-system"
	testName      = "palisade-webhook.palisade-system.svc"
)

// cluster is a fake API server with two replicas of the webhook and one clock.
type cluster struct {
	client   client.Client
	now      time.Time
	replicas [2]*Source
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{now: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)}
	config := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "palisade"},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{{Name: "a.palisade.dev"}, {Name: "b.palisade.dev"}},
	}
	c.client = fake.NewClientBuilder().WithObjects(config).Build()
	for i := range c.replicas {
		c.replicas[i] = &Source{
			Client: c.client, Namespace: testNamespace, Secret: "ca", Configuration: "palisade",
			Names: []string{testName, "127.0.0.1"}, Now: func() time.Time { return c.now },
		}
	}
	return c
}

func (c *cluster) refresh(t *testing.T, replica int) {
	t.Helper()
	if err := c.replicas[replica].Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// leaf is the certificate that a replica serves.
func (c *cluster) leaf(t *testing.T, replica int) *x509.Certificate {
	t.Helper()
	var config tls.Config
	c.replicas[replica].Configure(&config)
	cert, err := config.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

// trusted reports how the API server would see a replica.
func (c *cluster) trusted(t *testing.T, replica int, name string) error {
	t.Helper()
	var config admissionregistrationv1.ValidatingWebhookConfiguration
	if err := c.client.Get(t.Context(), client.ObjectKey{Name: "palisade"}, &config); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	for _, w := range config.Webhooks {
		if !roots.AppendCertsFromPEM(w.ClientConfig.CABundle) {
			t.Fatalf("webhook %s has no certificate in its caBundle", w.Name)
		}
	}
	_, err := c.leaf(t, replica).Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: c.now})
	return err
}

func TestBothReplicasAreTrusted(t *testing.T) {
	c := newCluster(t)
	if err := c.replicas[0].Ready(); err == nil {
		t.Error("ready without a certificate")
	}
	c.refresh(t, 0)
	c.refresh(t, 1)
	for replica := range c.replicas {
		for _, name := range []string{testName, "127.0.0.1"} {
			if err := c.trusted(t, replica, name); err != nil {
				t.Errorf("replica %d as %s: %v", replica, name, err)
			}
		}
	}
	if err := c.trusted(t, 0, "elsewhere.svc"); err == nil {
		t.Error("the certificate is good for any name")
	}
	if err := c.replicas[0].Ready(); err != nil {
		t.Error(err)
	}
}

func TestServingCertificateIsRenewed(t *testing.T) {
	c := newCluster(t)
	c.refresh(t, 0)
	first := c.leaf(t, 0)
	c.now = c.now.Add(servingLife / 2)
	if c.refresh(t, 0); !bytes.Equal(c.leaf(t, 0).Raw, first.Raw) {
		t.Error("renewed at half of its life")
	}
	c.now = c.now.Add(servingLife / 4)
	if c.refresh(t, 0); bytes.Equal(c.leaf(t, 0).Raw, first.Raw) {
		t.Error("not renewed at three quarters of its life")
	}
}

// For twenty years, one replica refreshes and the other lags behind by one
// round: both are always trusted, and the authority does rotate.
func TestRotationOverlaps(t *testing.T) {
	c := newCluster(t)
	c.refresh(t, 0)
	c.refresh(t, 1)
	authorities := map[string]bool{}
	for range 20 * 365 / 5 {
		c.now = c.now.Add(5 * 24 * time.Hour)
		c.refresh(t, 0)
		for replica := range c.replicas {
			if err := c.trusted(t, replica, testName); err != nil {
				t.Fatalf("%s: replica %d: %v", c.now.Format(time.DateOnly), replica, err)
			}
		}
		c.refresh(t, 1)
		authorities[string(c.replicas[0].serving.Load().signedBy)] = true
	}
	if n := len(authorities); n < 5 || n > 12 {
		t.Errorf("%d authorities in twenty years", n)
	}
}

func TestDamagedSecret(t *testing.T) {
	c := newCluster(t)
	c.refresh(t, 0)
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: testNamespace, Name: "ca"}
	if err := c.client.Get(t.Context(), key, &secret); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string][]byte){
		"no key":             func(d map[string][]byte) { delete(d, currentKey) },
		"another's key":      func(d map[string][]byte) { d[currentKey] = d[nextKey] },
		"garbage":            func(d map[string][]byte) { d[nextCert] = []byte("garbage") },
		"a truncated key":    func(d map[string][]byte) { d[nextKey] = d[nextKey][:60] },
		"the next is absent": func(d map[string][]byte) { delete(d, nextCert) },
	} {
		t.Run(name, func(t *testing.T) {
			damaged := secret.DeepCopy()
			change(damaged.Data)
			if _, err := parseKeyring(damaged.Data); err == nil {
				t.Error("accepted")
			}
		})
	}
}
