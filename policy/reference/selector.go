package reference

import (
	"slices"

	"palisade.dev/palisade/policy/model"
)

// protects reports whether a policy is about an endpoint.
func (q question) protects(s model.Subject, e *model.Endpoint) bool {
	return q.selects(s.Kind, s.Namespaces, s.Labels, e)
}

// selects reports whether an endpoint is of a kind, in matching namespaces, and
// has matching labels. Nodes are in no namespace.
func (q question) selects(kind model.EndpointKind, namespaces model.NamespaceMatch, labels model.Selector, e *model.Endpoint) bool {
	if e == nil || e.ID.Kind != kind || !holds(labels, e.Labels) {
		return false
	}
	return kind == model.EndpointNode || q.inNamespaces(namespaces, e.ID.Namespace)
}

// inNamespaces reports whether a namespace is meant: by its name if the match
// has one, else by its labels.
func (q question) inNamespaces(m model.NamespaceMatch, name string) bool {
	if m.Name != "" {
		return m.Name == name
	}
	var labels map[string]string // a namespace that is not listed has none
	for _, ns := range q.cluster.Namespaces {
		if ns.Name == name {
			labels = ns.Labels
		}
	}
	return holds(m.Labels, labels)
}

// holds reports whether labels meet every requirement of a selector.
func holds(s model.Selector, labels map[string]string) bool {
	for _, r := range s.Requirements {
		value, present := labels[r.Key]
		var ok bool
		switch r.Op {
		case model.In:
			ok = present && slices.Contains(r.Values, value)
		case model.NotIn:
			ok = !present || !slices.Contains(r.Values, value)
		case model.Exists:
			ok = present
		case model.DoesNotExist:
			ok = !present
		}
		if !ok {
			return false
		}
	}
	return true
}
