package gather

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
)

// exceptions tells when the exceptions of a policy's runtime sections end.
func exceptions(o client.Object) map[string]time.Time {
	switch o := o.(type) {
	case *v1alpha1.RuntimePolicy:
		return o.Spec.Exceptions()
	case *v1alpha1.ClusterwidePolicy:
		if o.Spec.Runtime != nil {
			return o.Spec.Runtime.Exceptions()
		}
	}
	return nil
}
