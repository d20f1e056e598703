package cel

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/test/kubetest"
)

// server is an API server with the CRDs of this checkout.
type server struct {
	// strict refuses unknown fields, so that a typing error in a case fails the
	// case instead of being pruned.
	strict client.Client
	config *rest.Config
}

// startServer starts an API server that the test's end stops.
func startServer(t *testing.T) server {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an API server")
	}
	config := kubetest.StartAPIServer(t, kubetest.WithCRDs())
	config.QPS, config.Burst = 1000, 1000
	c, err := client.New(config, client.Options{Scheme: runtime.NewScheme()})
	if err != nil {
		t.Fatal(err)
	}
	return server{strict: client.WithFieldValidation(c, metav1.FieldValidationStrict), config: config}
}

// dryCreate asks the API server to judge an object without storing it.
func (s server) dryCreate(ctx context.Context, object map[string]any) error {
	return s.strict.Create(ctx, &unstructured.Unstructured{Object: object}, client.DryRunAll)
}

// refusal is one reason for which the API server refused an object.
type refusal struct{ field, message string }

// refusals takes an API server's answer apart. Any other error fails the test.
func refusals(t *testing.T, err error) []refusal {
	t.Helper()
	if err == nil {
		return nil
	}
	var status *apierrors.StatusError
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) || status.ErrStatus.Details == nil {
		t.Fatalf("want a refusal by the schema, got: %v", err)
	}
	var out []refusal
	for _, cause := range status.ErrStatus.Details.Causes {
		out = append(out, refusal{cause.Field, cause.Message})
	}
	return out
}
