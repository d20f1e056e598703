package status

import (
	"time"
)

// Grace is how long a node may take, or be away, before conditions say so.
const Grace = 30 * time.Second

// Verdict is what the controller decided about an object's current spec.
type Verdict struct {
	Accepted bool
	Reason   string // a constant of api/v1alpha1
	Message  string
	// Older says that an earlier spec of the object is in force instead.
	Older bool
}

// Progress is how far a node has come with one policy.
type Progress uint8

// The stages.
const (
	Waiting  Progress = iota // not acknowledged, since less than Grace
	Late                     // not acknowledged, since longer
	Realized                 // acknowledged
	Failed                   // refused, or unable to enforce
)

// Node is a node that hosts a subject of the policy.
type Node struct {
	Name     string
	Ready    bool // the Node's condition
	Progress Progress
	// Away is how long the agent has not been connected; 0 while it is.
	Away time.Duration
	// Backend is the weakest by which it enforces the policy's runtime sections.
	Backend Backend
	// Sections are the policy's runtime sections, and by what it enforces each.
	Sections []SectionBackend
	// Unjudged says which of the policy's rules the node cannot judge in every case, and
	// why; empty: it judges all of them.
	Unjudged string
	// Reason and Message say why it Failed.
	Reason  string
	Message string
}

// lost: nobody can say what the node does at present.
func (n *Node) lost() bool { return n.Away > Grace }

// Facts are all that a policy's status depends on, besides the status before.
type Facts struct {
	Now        time.Time
	Generation int64
	Verdict    Verdict
	Audit      bool
	ExpiresAt  time.Time // zero: never
	Endpoints  int
	External   bool // the subject is external workloads, which no node hosts
	// Snapshot is the counter of the first published state that holds the spec.
	Snapshot int64
	Nodes    []Node // sorted by name
	// Exceptions says when those of its runtime sections end, by SECTION/NAME.
	Exceptions map[string]time.Time
}

// expired reports whether the policy has expired.
func (f *Facts) expired() bool { return !f.ExpiresAt.IsZero() && !f.Now.Before(f.ExpiresAt) }

// waiting reports whether a node is expected to acknowledge soon.
func (f *Facts) waiting() bool {
	if !f.Verdict.Accepted || f.expired() {
		return false
	}
	for i := range f.Nodes {
		if n := &f.Nodes[i]; n.Ready && n.Progress == Waiting && !n.lost() {
			return true
		}
	}
	return false
}
