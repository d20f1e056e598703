package webhooks

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// overlap reports whether some endpoint, existing or not, could be selected by
// both subjects. It looks at selectors and not at what they select today: pods
// come and go without asking admission.
func overlap(a, b v1alpha1.ClusterwidePolicySubject) bool {
	sa, sb := selectorsOf(a), selectorsOf(b)
	return sa.of == sb.of &&
		satisfiable(sa.namespaces, sb.namespaces) && satisfiable(sa.endpoints, sb.endpoints)
}

// subjectSelectors is a subject in one form: what it asks of the namespace and
// of the endpoint.
type subjectSelectors struct {
	of                    model.EndpointKind
	namespaces, endpoints v1alpha1.LabelSelector
}

func selectorsOf(s v1alpha1.ClusterwidePolicySubject) subjectSelectors {
	switch {
	case s.Pods != nil:
		return subjectSelectors{of: model.EndpointPod, namespaces: s.Pods.NamespaceSelector, endpoints: s.Pods.PodSelector}
	case s.ExternalWorkloads != nil:
		return subjectSelectors{of: model.EndpointExternal, namespaces: s.ExternalWorkloads.NamespaceSelector, endpoints: s.ExternalWorkloads.Selector}
	case s.Namespaces != nil:
		return subjectSelectors{of: model.EndpointPod, namespaces: *s.Namespaces}
	case s.Nodes != nil:
		return subjectSelectors{of: model.EndpointNode, endpoints: *s.Nodes}
	default:
		// The schema refuses a subject without members; all is the cautious answer.
		return subjectSelectors{of: model.EndpointPod}
	}
}

// satisfiable reports whether one set of labels could match all selectors.
// Requirements on different keys cannot contradict each other, so each key is
// decided for itself.
func satisfiable(selectors ...v1alpha1.LabelSelector) bool {
	byKey := map[string][]metav1.LabelSelectorRequirement{}
	for _, s := range selectors {
		m := s.Meta()
		for key, value := range m.MatchLabels {
			byKey[key] = append(byKey[key], metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: []string{value}})
		}
		for _, r := range m.MatchExpressions {
			byKey[r.Key] = append(byKey[r.Key], r)
		}
	}
	for _, requirements := range byKey {
		if !keySatisfiable(requirements) {
			return false
		}
	}
	return true
}

// keySatisfiable tries the label's absence, every value that some In names,
// and, without any In, a value that nobody names: there are infinitely many.
func keySatisfiable(requirements []metav1.LabelSelectorRequirement) bool {
	if all(requirements, func(r metav1.LabelSelectorRequirement) bool {
		return r.Operator == metav1.LabelSelectorOpNotIn || r.Operator == metav1.LabelSelectorOpDoesNotExist
	}) {
		return true
	}
	if slices.ContainsFunc(requirements, func(r metav1.LabelSelectorRequirement) bool {
		return r.Operator == metav1.LabelSelectorOpDoesNotExist
	}) {
		return false
	}
	first := slices.IndexFunc(requirements, func(r metav1.LabelSelectorRequirement) bool { return r.Operator == metav1.LabelSelectorOpIn })
	if first < 0 {
		return true
	}
	return slices.ContainsFunc(requirements[first].Values, func(value string) bool {
		return all(requirements, func(r metav1.LabelSelectorRequirement) bool {
			switch r.Operator {
			case metav1.LabelSelectorOpIn:
				return slices.Contains(r.Values, value)
			case metav1.LabelSelectorOpNotIn:
				return !slices.Contains(r.Values, value)
			default:
				return true
			}
		})
	})
}

func all[E any](s []E, f func(E) bool) bool {
	return !slices.ContainsFunc(s, func(e E) bool { return !f(e) })
}
