package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/webhooks/certs"
)

// TestMetricsByTLS: with --metrics-tls nothing is served that a client could not
// verify, and without it all is as scrapers expect by default.
func TestMetricsByTLS(t *testing.T) {
	cluster := fake.NewClientBuilder().WithObjects(&admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: webhookConfig}, Webhooks: []admissionregistrationv1.ValidatingWebhook{{Name: "a.palisade.dev"}},
	}).Build()
	name := webhookService + ".palisade-system.svc"
	source := &certs.Source{Client: cluster, Namespace: "palisade-system", Secret: webhookSecret, Configuration: webhookConfig, Names: []string{name}, Now: time.Now}
	if err := source.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var published admissionregistrationv1.ValidatingWebhookConfiguration
	if err := cluster.Get(t.Context(), client.ObjectKey{Name: webhookConfig}, &published); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(published.Webhooks[0].ClientConfig.CABundle)
	for _, secure := range []bool{true, false} {
		t.Run(fmt.Sprintf("tls %t", secure), func(t *testing.T) {
			at := serve(t, (&config{metricsAddress: "127.0.0.1:0", metricsTLS: secure}).metricsOptions(source))
			verified := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}, DisableKeepAlives: true}
			plain := &http.Transport{DisableKeepAlives: true}
			for scheme, transport := range map[string]*http.Transport{"https": verified, "http": plain} {
				want := secure == (scheme == "https")
				code, err := get(transport, scheme+"://"+at+"/metrics")
				if got := err == nil && code == http.StatusOK; got != want {
					t.Errorf("%s: %d, %v; served: want %t", scheme, code, err, want)
				}
			}
		})
	}
}

// serve runs a metrics server until the test ends, and returns its address.
func serve(t *testing.T, o metricsserver.Options) string {
	t.Helper()
	server, err := metricsserver.NewServer(o, &rest.Config{}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	var at string
	poll.Holds(t, "an address", func() bool {
		at = server.(interface{ GetBindAddr() string }).GetBindAddr()
		return at != ""
	})
	return at
}

func get(transport *http.Transport, url string) (int, error) {
	resp, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
