package identity

import (
	"maps"
	"slices"

	"palisade.dev/palisade/policy/index"
	"palisade.dev/palisade/policy/model"
)

// traitKind says what a trait is about.
type traitKind uint8

const (
	podLabel traitKind = iota // podLabel+EndpointKind: a label key of endpoints of that class
	nodeLabel
	externalLabel
	hostPodLabel
	namespaceLabel
	portName
	nodeName
)

// traitKey names something about an endpoint or a namespace that policies may
// or may not read.
type traitKey struct {
	kind traitKind
	name string
}

// labelOf is the trait that a label key of endpoints of a class is.
func labelOf(class model.EndpointKind) traitKind { return podLabel + traitKind(class) }

// trait counts who reads it and lists who has it, so that its first and its last
// reader touch nobody else.
type trait struct {
	key     traitKey
	readers int
	holders []*holder
}

// holder is an endpoint or a namespace with its traits.
type holder struct {
	endpoint  *endpoint
	namespace *namespace
	held      []holding // labels first, sorted by key
}

// holding is one trait of a holder; at is where the trait lists the holder.
type holding struct {
	trait *trait
	at    int
	value string // of a label
}

// Needs is what one policy reads. Repetitions count as often as they stand there.
type Needs struct {
	Labels          [model.EndpointKinds][]string // label keys, by class of endpoint
	NamespaceLabels []string
	Ports           []string // names of ports
	Host            bool     // which node is which
}

func (n *Needs) each(visit func(traitKey)) {
	for kind, keys := range n.Labels {
		for _, k := range keys {
			visit(traitKey{labelOf(model.EndpointKind(kind)), k})
		}
	}
	for _, k := range n.NamespaceLabels {
		visit(traitKey{namespaceLabel, k})
	}
	for _, name := range n.Ports {
		visit(traitKey{portName, name})
	}
	if n.Host {
		visit(traitKey{nodeName, ""})
	}
}

// Use says that one more policy reads what it needs.
func (t *Table) Use(n *Needs) {
	n.each(func(k traitKey) {
		tr := t.trait(k)
		if tr.readers++; tr.readers == 1 {
			t.touch(tr)
		}
	})
}

// Release takes back a Use with the same needs.
func (t *Table) Release(n *Needs) {
	n.each(func(k traitKey) {
		tr := t.trait(k)
		if tr.readers--; tr.readers == 0 {
			t.touch(tr)
			t.drop(tr)
		}
	})
}

func (t *Table) trait(k traitKey) *trait {
	tr := t.traits[k]
	if tr == nil {
		tr = &trait{key: k}
		t.traits[k] = tr
	}
	return tr
}

// drop forgets a trait that nobody reads or has.
func (t *Table) drop(tr *trait) {
	if tr.readers == 0 && len(tr.holders) == 0 {
		delete(t.traits, tr.key)
	}
}

// touch marks everybody whose kind a trait is part of, or was.
func (t *Table) touch(tr *trait) {
	for _, h := range tr.holders {
		if h.endpoint != nil {
			t.mark(h.endpoint)
			continue
		}
		for _, e := range h.namespace.endpoints {
			t.mark(e)
		}
	}
}

// hold gives a holder one more trait.
func (t *Table) hold(h *holder, k traitKey, value string) {
	tr := t.trait(k)
	h.held = append(h.held, holding{trait: tr, at: len(tr.holders), value: value})
	tr.holders = append(tr.holders, h)
}

// holdLabels gives a holder its labels, in the order of their keys.
func (t *Table) holdLabels(h *holder, kind traitKind, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		t.hold(h, traitKey{kind, key}, labels[key])
	}
}

// release takes all traits of a holder away.
func (t *Table) release(h *holder) {
	for _, x := range h.held {
		tr := x.trait
		last := len(tr.holders) - 1
		moved := tr.holders[last]
		tr.holders[x.at] = moved
		tr.holders[last] = nil
		tr.holders = tr.holders[:last]
		for j := range moved.held {
			if moved.held[j].trait == tr {
				moved.held[j].at = x.at
			}
		}
		t.drop(tr)
	}
	h.held = h.held[:0]
}

// read returns the labels among a holder's traits that somebody reads.
func (h *holder) read(kind traitKind) index.Labels {
	var out index.Labels
	for i := range h.held {
		if tr := h.held[i].trait; tr.key.kind == kind && tr.readers > 0 {
			out = append(out, index.Label{Key: tr.key.name, Value: h.held[i].value})
		}
	}
	return out
}
