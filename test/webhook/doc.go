// Package webhook tests admission as it is installed: the manifests of
// config/webhook on a real API server, and the webhook's server on loopback.
package webhook
