package publish

import (
	"slices"
	"sync"
	"time"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Refusal is a node's answer that it did not apply a state.
type Refusal struct {
	Counter Counter
	Reason  string // a constant of package wire
	Message string
	Object  string
}

// Condition is what a node says about itself.
type Condition struct {
	Type    string
	Holds   bool
	Reason  string
	Message string
	// Unjudged are operations of a runtime section, as its bits, that the node cannot judge.
	Unjudged uint32
}

// Node is what the leader knows of one node's agent.
type Node struct {
	Connected bool
	// Since is when Connected last changed: for a node that never connected,
	// when the tracker began to listen.
	Since time.Time
	// Held is the state that the agent enforces; it means nothing unless Known.
	Held    Counter
	Known   bool
	Refusal *Refusal // the answer to the newest state sent, if it was one
	// Conditions are those of the last report.
	Conditions []Condition
	Version    string
}

// Tracker collects what agents say. It is safe for concurrent use.
type Tracker struct {
	now      func() time.Time
	onChange func(node model.NodeName, trouble bool)

	mu     sync.Mutex
	begin  time.Time
	nodes  map[model.NodeName]*Node
	window *window
	losses map[string]uint64
}

// NewTracker returns a tracker that calls onChange after each change of a node,
// without holding a lock. A change is trouble unless the node just came further.
func NewTracker(now func() time.Time, onChange func(node model.NodeName, trouble bool)) *Tracker {
	return &Tracker{
		now: now, onChange: onChange, begin: now(),
		nodes: map[model.NodeName]*Node{}, window: newWindow(), losses: map[string]uint64{},
	}
}

// Begin starts over: a new leader has heard of nobody.
func (t *Tracker) Begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin = t.now()
	t.window = newWindow()
	clear(t.nodes)
}

// Node returns what is known of a node.
func (t *Tracker) Node(name model.NodeName) Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, ok := t.nodes[name]; ok {
		return *n
	}
	return Node{Since: t.begin}
}

// Nodes returns all nodes that have ever connected.
func (t *Tracker) Nodes() map[model.NodeName]Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[model.NodeName]Node, len(t.nodes))
	for name, n := range t.nodes {
		out[name] = *n
	}
	return out
}

// Forget drops a node that is gone from the cluster.
func (t *Tracker) Forget(name model.NodeName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n, ok := t.nodes[name]; ok && !n.Connected {
		delete(t.nodes, name)
	}
}

func (t *Tracker) change(name model.NodeName, trouble bool, f func(*Node)) {
	t.mu.Lock()
	n := t.nodes[name]
	if n == nil {
		n = &Node{Since: t.begin}
		t.nodes[name] = n
	}
	f(n)
	t.mu.Unlock()
	t.onChange(name, trouble)
}

func (t *Tracker) connected(name model.NodeName, version string, held Counter, known bool) {
	now := t.now()
	t.change(name, true, func(n *Node) {
		if !n.Connected {
			n.Connected, n.Since = true, now
		}
		n.Version, n.Held, n.Known, n.Refusal = version, held, known, nil
	})
}

func (t *Tracker) disconnected(name model.NodeName) {
	now := t.now()
	t.change(name, true, func(n *Node) { n.Connected, n.Since = false, now })
}

func (t *Tracker) acknowledged(name model.NodeName, c Counter) {
	t.change(name, false, func(n *Node) { n.Held, n.Known, n.Refusal = c, true, nil })
}

func (t *Tracker) refused(name model.NodeName, r Refusal) {
	t.change(name, true, func(n *Node) { n.Refusal = &r })
}

// lostHere is the kind of loss of connections that found no room in the window.
const lostHere = "leader_counters"

// reported notes a report. named tells what a rule is called.
func (t *Tracker) reported(name model.NodeName, r *wire.Report, named func(snapshot.RuleID) (snapshot.RuleRow, bool)) {
	var conditions []Condition
	for _, c := range r.GetConditions() {
		conditions = append(conditions, Condition{c.GetType(), c.GetHolds(), c.GetReason(), c.GetMessage(), c.GetUnjudged()})
	}
	t.mu.Lock()
	for _, l := range r.GetLosses() {
		t.losses[l.GetKind()] += l.GetCount()
	}
	t.count(r.GetCounters(), named)
	n := t.nodes[name]
	same := n != nil && slices.Equal(n.Conditions, conditions)
	t.mu.Unlock()
	if !same {
		t.change(name, true, func(n *Node) { n.Conditions = conditions })
	}
}

// count needs mu.
func (t *Tracker) count(counters []*wire.Counter, named func(snapshot.RuleID) (snapshot.RuleRow, bool)) {
	now := t.now()
	t.window.expire(now)
	for _, c := range counters {
		if len(c.GetRule()) != len(snapshot.RuleID{}) {
			continue // an agent's mistake costs its own count only
		}
		k := Meeting{Rule: snapshot.RuleID(c.GetRule())}
		if len(c.GetSubject()) == len(k.Subject) && len(c.GetPeer()) == len(k.Peer) {
			k.Subject, k.Peer = snapshot.KindID(c.GetSubject()), snapshot.SetID(c.GetPeer())
		}
		if lost := t.window.add(now, k, RuleCount{c.GetConnections(), c.GetPackets()}); lost > 0 {
			t.losses[lostHere] += lost
			continue
		}
		t.window.name(k.Rule, named)
	}
}
