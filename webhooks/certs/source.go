package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// How often a replica looks at the Secret and at the webhook configuration:
// often until it has a certificate, then now and then.
const (
	retryEvery   = 5 * time.Second
	refreshEvery = 5 * time.Minute
)

// errNone is returned to a client that connects before there is a certificate.
var errNone = errors.New("no serving certificate yet")

// Source keeps a serving certificate. It is a Runnable of controller-runtime's
// manager and runs on every replica, leader or not.
type Source struct {
	// Client reads and writes the Secret and the configuration. It should not
	// cache: these are two objects, and a cache would watch every Secret.
	Client        client.Client
	Namespace     string
	Secret        string
	Configuration string   // the ValidatingWebhookConfiguration to put the caBundle into
	Names         []string // what the API server calls this server
	Now           func() time.Time

	serving atomic.Pointer[serving]
}

type serving struct {
	cert     *tls.Certificate
	signedBy []byte // the authority's certificate, raw
}

// Configure makes a TLS server use the source.
func (s *Source) Configure(c *tls.Config) {
	c.MinVersion = tls.VersionTLS12
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if have := s.serving.Load(); have != nil {
			return have.cert, nil
		}
		return nil, errNone
	}
}

// NeedLeaderElection says that every replica serves admission.
func (s *Source) NeedLeaderElection() bool { return false }

// Start keeps the certificate fresh until the context ends.
func (s *Source) Start(ctx context.Context) error {
	log := logf.FromContext(ctx).WithName("webhook-certs")
	for {
		wait := refreshEvery
		if err := s.Refresh(ctx); err != nil {
			log.Error(err, "webhook certificate")
			wait = retryEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Ready is a readiness check: a replica without a certificate cannot answer.
func (s *Source) Ready() error {
	if s.serving.Load() == nil {
		return errNone
	}
	return nil
}

// Refresh brings the Secret, the configuration and the certificate up to date,
// in this order: nothing is served that the API server cannot trust yet.
func (s *Source) Refresh(ctx context.Context) error {
	keys, err := s.keyring(ctx)
	if err != nil {
		return fmt.Errorf("secret %s/%s: %w", s.Namespace, s.Secret, err)
	}
	if err := s.publish(ctx, keys.bundle()); err != nil {
		return fmt.Errorf("validatingwebhookconfiguration %s: %w", s.Configuration, err)
	}
	have := s.serving.Load()
	if have != nil && bytes.Equal(have.signedBy, keys.current.cert.Raw) && !due(have.cert.Leaf, s.Now()) {
		return nil
	}
	cert, err := keys.current.issue(s.Names, s.Now())
	if err != nil {
		return err
	}
	s.serving.Store(&serving{cert: cert, signedBy: keys.current.cert.Raw})
	return nil
}

// keyring reads the Secret, or makes it, or rotates it. Replicas race for the
// write; who loses sees a conflict, and what the winner wrote at the next try.
func (s *Source) keyring(ctx context.Context) (keyring, error) {
	var secret corev1.Secret
	err := s.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Secret}, &secret)
	if apierrors.IsNotFound(err) {
		return s.create(ctx)
	}
	if err != nil {
		return keyring{}, err
	}
	if len(secret.Data) == 0 { // made by hand or by a manifest
		keys, err := newKeyring(s.Now())
		if err != nil {
			return keyring{}, err
		}
		return keys, s.update(ctx, &secret, keys)
	}
	keys, err := parseKeyring(secret.Data)
	if err != nil {
		return keyring{}, fmt.Errorf("%w: delete the secret, and a new one is made", err)
	}
	if !due(keys.current.cert, s.Now()) {
		return keys, nil
	}
	if keys, err = keys.rotate(s.Now()); err != nil {
		return keyring{}, err
	}
	return keys, s.update(ctx, &secret, keys)
}

func (s *Source) create(ctx context.Context) (keyring, error) {
	keys, err := newKeyring(s.Now())
	if err != nil {
		return keyring{}, err
	}
	data, err := keys.data()
	if err != nil {
		return keyring{}, err
	}
	return keys, s.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Secret},
		Data:       data,
	})
}

func (s *Source) update(ctx context.Context, secret *corev1.Secret, keys keyring) error {
	data, err := keys.data()
	if err != nil {
		return err
	}
	secret.Data = data
	return s.Client.Update(ctx, secret)
}

// publish writes the bundle into every webhook of the configuration.
func (s *Source) publish(ctx context.Context, bundle []byte) error {
	var config admissionregistrationv1.ValidatingWebhookConfiguration
	if err := s.Client.Get(ctx, client.ObjectKey{Name: s.Configuration}, &config); err != nil {
		return err
	}
	before := config.DeepCopy()
	changed := false
	for i := range config.Webhooks {
		if c := &config.Webhooks[i].ClientConfig; !bytes.Equal(c.CABundle, bundle) {
			c.CABundle = bundle
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return s.Client.Patch(ctx, &config, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
