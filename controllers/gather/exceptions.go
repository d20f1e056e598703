package gather

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// exceptions lists the exceptions of a policy's runtime sections as status names
// them, with when each ends; nil if there are none.
func exceptions(o client.Object) map[string]time.Time {
	var rules *v1alpha1.RuntimeRules
	switch o := o.(type) {
	case *v1alpha1.RuntimePolicy:
		rules = &o.Spec.RuntimeRules
	case *v1alpha1.ClusterwidePolicy:
		if o.Spec.Runtime != nil {
			rules = &o.Spec.Runtime.RuntimeRules
		}
	}
	if rules == nil {
		return nil
	}
	var out map[string]time.Time
	add := func(s model.Section, e *v1alpha1.RuntimeException) {
		if out == nil {
			out = map[string]time.Time{}
		}
		out[s.String()+"/"+string(e.Name)] = e.ExpiresAt.Time
	}
	if s := rules.Executables; s != nil {
		for i := range s.Exceptions {
			add(model.SectionExecutables, &s.Exceptions[i].RuntimeException)
		}
	}
	if s := rules.Files; s != nil {
		for i := range s.Exceptions {
			add(model.SectionFiles, &s.Exceptions[i].RuntimeException)
		}
	}
	if s := rules.Privileges; s != nil {
		for i := range s.Exceptions {
			add(model.SectionPrivileges, &s.Exceptions[i].RuntimeException)
		}
	}
	if s := rules.Network; s != nil {
		for i := range s.Exceptions {
			add(model.SectionNetwork, &s.Exceptions[i].RuntimeException)
		}
	}
	return out
}
