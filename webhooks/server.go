package webhooks

import (
	"crypto/tls"

	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"palisade.dev/palisade/webhooks/certs"
)

// NewServer returns a webhook server that serves the source's certificate. The
// manager takes it as an option; the source is added to the manager besides.
func NewServer(source *certs.Source, port int) webhook.Server {
	return webhook.NewServer(webhook.Options{
		Port:    port,
		TLSOpts: []func(*tls.Config){source.Configure},
	})
}
