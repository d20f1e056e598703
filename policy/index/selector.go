package index

import (
	"slices"

	"palisade.dev/palisade/policy/model"
)

// Label is one label of a target.
type Label struct {
	Key, Value string
}

// Labels are sorted by key and have no key twice.
type Labels []Label

// Get returns the value of a key.
func (l Labels) Get(key string) (string, bool) {
	for i := range l { // few: only keys that some selector reads
		if l[i].Key == key {
			return l[i].Value, true
		}
	}
	return "", false
}

// Matches reports whether labels meet every requirement of a selector.
func Matches(s model.Selector, labels Labels) bool {
	for i := range s.Requirements {
		r := &s.Requirements[i]
		value, has := labels.Get(r.Key)
		var ok bool
		switch r.Op {
		case model.In:
			ok = has && contains(r.Values, value)
		case model.NotIn:
			ok = !has || !contains(r.Values, value)
		case model.Exists:
			ok = has
		case model.DoesNotExist:
			ok = !has
		}
		if !ok {
			return false
		}
	}
	return true
}

func contains(values []string, v string) bool {
	if len(values) == 1 {
		return values[0] == v
	}
	_, found := slices.BinarySearch(values, v)
	return found
}

// Query is a condition on targets: of one kind, in namespaces, by labels.
type Query struct {
	Kind       model.EndpointKind
	Namespaces model.NamespaceMatch
	Labels     model.Selector
}

// AppendKey appends bytes that are equal exactly for equal queries.
func (q Query) AppendKey(b []byte) []byte {
	b = append(b, byte(q.Kind))
	b = appendMatch(b, q.Namespaces)
	return appendSelector(b, q.Labels)
}

func appendMatch(b []byte, m model.NamespaceMatch) []byte {
	b = appendText(b, m.Name)
	if m.Name != "" {
		return b // the name decides alone
	}
	return appendSelector(b, m.Labels)
}

func appendSelector(b []byte, s model.Selector) []byte {
	b = appendCount(b, len(s.Requirements))
	for i := range s.Requirements {
		r := &s.Requirements[i]
		b = append(appendText(b, r.Key), byte(r.Op))
		b = appendCount(b, len(r.Values))
		for _, v := range r.Values {
			b = appendText(b, v)
		}
	}
	return b
}

func appendLabels(b []byte, labels Labels) []byte {
	b = appendCount(b, len(labels))
	for i := range labels {
		b = appendText(appendText(b, labels[i].Key), labels[i].Value)
	}
	return b
}

func appendCount(b []byte, n int) []byte {
	return append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendText(b []byte, s string) []byte {
	return append(appendCount(b, len(s)), s...)
}
