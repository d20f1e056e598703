package identity

import (
	"cmp"
	"slices"

	"palisade.dev/palisade/policy/model"
)

// Change is what became of one endpoint. Old is nil for a new one, New for one
// that is gone.
type Change struct {
	Old, New *Resolved
}

// Changes is what became of all endpoints since the last Settle. The order of
// the lists means nothing.
type Changes struct {
	Endpoints []Change
	Added     []*Kind // have members now and had none
	Removed   []*Kind // had members and have none now
}

// Settle gives every endpoint that changed, or whose kind may have, its kind.
func (t *Table) Settle() Changes {
	var out Changes
	for _, e := range t.marked {
		e.pending = false
		old := e.now
		if e.gone {
			t.forget(e, old)
			if old != nil {
				out.Endpoints = append(out.Endpoints, Change{Old: old})
			}
			continue
		}
		m := e.next
		if m == nil {
			m = &old.Endpoint
		}
		kind := t.kindOf(e, m)
		if e.next == nil && kind == old.Kind {
			continue
		}
		e.now, e.next = &Resolved{Endpoint: *m, Kind: kind}, nil
		if old == nil || old.Kind != kind {
			t.count(kind, +1)
			if old != nil {
				t.count(old.Kind, -1)
			}
		}
		out.Endpoints = append(out.Endpoints, Change{Old: old, New: e.now})
	}
	t.marked = t.marked[:0]
	for _, k := range t.touched {
		k.queued = false
		switch {
		case k.members > 0 && !k.listed:
			k.listed = true
			out.Added = append(out.Added, k)
		case k.members == 0:
			delete(t.kinds, k.Content)
			if k.listed {
				out.Removed = append(out.Removed, k)
			}
		}
	}
	t.touched = t.touched[:0]
	return out
}

func (t *Table) forget(e *endpoint, old *Resolved) {
	delete(t.endpoints, e.id)
	if old != nil {
		t.count(old.Kind, -1)
	}
	if n := e.home; n != nil {
		last := len(n.endpoints) - 1
		n.endpoints[e.at] = n.endpoints[last]
		n.endpoints[e.at].at = e.at
		n.endpoints[last] = nil
		n.endpoints = n.endpoints[:last]
		t.dropNamespace(n)
	}
}

func (t *Table) count(k *Kind, by int) {
	k.members += by
	if !k.queued {
		k.queued = true
		t.touched = append(t.touched, k)
	}
}

// kindOf returns the kind of an endpoint, made if it is the first.
func (t *Table) kindOf(e *endpoint, m *model.Endpoint) *Kind {
	class := m.Class()
	b := append(t.scratch[:0], byte(class))
	b = appendText(b, m.ID.Namespace)
	b = e.appendLabels(b, labelOf(class))
	if e.home != nil {
		b = e.home.appendLabels(b, namespaceLabel)
	}
	var ports []model.NamedPort
	for i := range e.held {
		tr := e.held[i].trait
		if tr.readers == 0 {
			continue
		}
		switch tr.key.kind {
		case portName:
			for _, p := range m.Ports {
				if p.Name == tr.key.name {
					ports = append(ports, p)
				}
			}
		case nodeName:
			b = appendText(append(b, 1), m.ID.Name)
		}
	}
	slices.SortFunc(ports, comparePorts)
	ports = slices.Compact(ports)
	for _, p := range ports {
		b = appendText(append(b, 2, byte(p.Proto>>8), byte(p.Proto), byte(p.Port>>8), byte(p.Port)), p.Name)
	}
	t.scratch = b
	if k := t.kinds[string(b)]; k != nil {
		return k
	}
	k := &Kind{
		Content:   string(b),
		Endpoint:  class,
		Namespace: m.ID.Namespace,
		Labels:    e.read(labelOf(class)),
		Ports:     ports,
	}
	if e.home != nil {
		k.NamespaceLabels = e.home.read(namespaceLabel)
	}
	if m.ID.Kind == model.EndpointNode && t.reads(traitKey{nodeName, ""}) {
		k.Node = model.NodeName(m.ID.Name)
	}
	t.kinds[k.Content] = k
	return k
}

func (t *Table) reads(k traitKey) bool {
	tr := t.traits[k]
	return tr != nil && tr.readers > 0
}

// appendLabels appends the labels that somebody reads, closed by their number.
func (h *holder) appendLabels(b []byte, kind traitKind) []byte {
	n := 0
	for i := range h.held {
		if tr := h.held[i].trait; tr.key.kind == kind && tr.readers > 0 {
			b = appendText(appendText(append(b, 3), tr.key.name), h.held[i].value)
			n++
		}
	}
	return append(b, 4, byte(n>>8), byte(n))
}

func comparePorts(a, b model.NamedPort) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
}

func appendText(b []byte, s string) []byte {
	n := len(s)
	b = append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	return append(b, s...)
}
