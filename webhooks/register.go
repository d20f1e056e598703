package webhooks

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"palisade.dev/palisade/webhooks/rules"
)

// Path is where the webhook server answers; config/webhook names it.
const Path = "/validate-policy"

// Options are what the webhook needs besides a manager.
type Options struct {
	Namespace string    // where the policy system runs; it must not be cut off
	Estimator Estimator // compiles a policy and takes it back
}

// Register adds the validating webhook to the manager's webhook server. Facts
// are read through the manager's client, and so from its informers.
func Register(ctx context.Context, mgr manager.Manager, o Options) error {
	if o.Estimator == nil || o.Namespace == "" {
		return errors.New("webhooks: no estimator or no namespace of the policy system")
	}
	facts := CacheFacts{Reader: mgr.GetClient(), Namespace: o.Namespace}
	engine, err := NewEngine(ctx, rules.Modules(), facts, o.Estimator)
	if err != nil {
		return fmt.Errorf("admission rules: %w", err)
	}
	mgr.GetWebhookServer().Register(Path, &admission.Webhook{Handler: &Handler{Engine: engine}})
	return nil
}
