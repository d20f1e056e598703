package identity

import (
	"palisade.dev/palisade/policy/index"
	"palisade.dev/palisade/policy/model"
)

// Kind is a class of endpoints that policies cannot tell apart. It never changes.
type Kind struct {
	Content         string             // equal exactly for equal kinds
	Endpoint        model.EndpointKind // the class
	Namespace       string
	Labels          index.Labels // those that somebody reads
	NamespaceLabels index.Labels
	Ports           []model.NamedPort // those whose names somebody reads, sorted
	Node            model.NodeName    // of a node, while somebody asks for the host

	members int
	listed  bool // the last Settle reported it
	queued  bool
}

// Resolved is an endpoint with its kind. It never changes.
type Resolved struct {
	model.Endpoint
	Kind *Kind
}

// Table holds endpoints and namespaces and gives each endpoint its kind. It is
// not safe for concurrent use.
type Table struct {
	endpoints  map[model.EndpointID]*endpoint
	namespaces map[string]*namespace
	kinds      map[string]*Kind
	traits     map[traitKey]*trait

	marked  []*endpoint // whose kind may have changed since the last Settle
	touched []*Kind     // whose number of members has
	scratch []byte
}

type endpoint struct {
	holder
	id      model.EndpointID
	now     *Resolved       // as of the last Settle; nil: not there
	next    *model.Endpoint // as put since; nil: as before
	gone    bool            // deleted since
	home    *namespace      // nil for nodes
	at      int             // where home lists it
	pending bool            // marked
}

type namespace struct {
	holder
	name      string
	endpoints []*endpoint
	known     bool // put, and not only because an endpoint is in it
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{
		endpoints:  make(map[model.EndpointID]*endpoint),
		namespaces: make(map[string]*namespace),
		kinds:      make(map[string]*Kind),
		traits:     make(map[traitKey]*trait),
	}
}

// PutNamespace adds or changes a namespace.
func (t *Table) PutNamespace(ns model.Namespace) {
	n := t.namespace(ns.Name)
	n.known = true
	t.relabel(n, ns.Labels)
}

// DeleteNamespace removes a namespace. Endpoints that are still in it see one
// without labels.
func (t *Table) DeleteNamespace(name string) {
	n := t.namespaces[name]
	if n == nil {
		return
	}
	n.known = false
	t.relabel(n, nil)
	t.dropNamespace(n)
}

func (t *Table) relabel(n *namespace, labels map[string]string) {
	before := n.read(namespaceLabel)
	t.release(&n.holder)
	t.holdLabels(&n.holder, namespaceLabel, labels)
	if sameLabels(before, n.read(namespaceLabel)) {
		return // nobody reads what changed
	}
	for _, e := range n.endpoints {
		t.mark(e)
	}
}

func (t *Table) namespace(name string) *namespace {
	n := t.namespaces[name]
	if n == nil {
		n = &namespace{name: name}
		n.holder.namespace = n
		t.namespaces[name] = n
	}
	return n
}

func (t *Table) dropNamespace(n *namespace) {
	if !n.known && len(n.endpoints) == 0 {
		delete(t.namespaces, n.name)
	}
}

// PutEndpoint adds or changes an endpoint. The table keeps the value; its maps
// and slices must not change afterwards.
func (t *Table) PutEndpoint(m model.Endpoint) {
	e := t.endpoints[m.ID]
	if e == nil {
		e = &endpoint{id: m.ID}
		e.holder.endpoint = e
		t.endpoints[m.ID] = e
		if m.ID.Kind != model.EndpointNode {
			e.home = t.namespace(m.ID.Namespace)
			e.at = len(e.home.endpoints)
			e.home.endpoints = append(e.home.endpoints, e)
		}
	}
	t.release(&e.holder)
	t.holdLabels(&e.holder, labelOf(m.Class()), m.Labels)
	for i, p := range m.Ports {
		if !namedBefore(m.Ports, i) {
			t.hold(&e.holder, traitKey{portName, p.Name}, "")
		}
	}
	if m.ID.Kind == model.EndpointNode {
		t.hold(&e.holder, traitKey{nodeName, ""}, "")
	}
	e.next, e.gone = &m, false
	t.mark(e)
}

func namedBefore(ports []model.NamedPort, i int) bool {
	for _, p := range ports[:i] {
		if p.Name == ports[i].Name {
			return true
		}
	}
	return false
}

// DeleteEndpoint removes an endpoint.
func (t *Table) DeleteEndpoint(id model.EndpointID) {
	e := t.endpoints[id]
	if e == nil || e.gone {
		return
	}
	t.release(&e.holder)
	e.next, e.gone = nil, true
	t.mark(e)
}

func (t *Table) mark(e *endpoint) {
	if !e.pending {
		e.pending = true
		t.marked = append(t.marked, e)
	}
}

func sameLabels(a, b index.Labels) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
