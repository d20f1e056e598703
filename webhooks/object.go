package webhooks

import (
	"encoding/json"
	"fmt"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
)

// translateObject reads a policy of one of our kinds as the core sees it. A
// *translate.Error lists what is wrong with the object.
func translateObject(kind string, raw json.RawMessage) (model.Policy, error) {
	switch kind {
	case v1alpha1.KindNetworkPolicy:
		var p v1alpha1.NetworkPolicy
		if err := json.Unmarshal(raw, &p); err != nil {
			return model.Policy{}, err
		}
		return translate.NetworkPolicy(&p)
	case v1alpha1.KindRuntimePolicy:
		var p v1alpha1.RuntimePolicy
		if err := json.Unmarshal(raw, &p); err != nil {
			return model.Policy{}, err
		}
		return translate.RuntimePolicy(&p)
	case v1alpha1.KindClusterwidePolicy:
		var p v1alpha1.ClusterwidePolicy
		if err := json.Unmarshal(raw, &p); err != nil {
			return model.Policy{}, err
		}
		return translate.ClusterwidePolicy(&p)
	default:
		return model.Policy{}, fmt.Errorf("kind %s is no policy", kind)
	}
}

// isPolicy reports whether translateObject knows the kind.
func isPolicy(kind string) bool {
	switch kind {
	case v1alpha1.KindNetworkPolicy, v1alpha1.KindRuntimePolicy, v1alpha1.KindClusterwidePolicy:
		return true
	default:
		return false
	}
}
