package gather

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// Object names an object that has a status, or, for upstream's NetworkPolicy,
// an outcome that events tell.
type Object struct {
	Policy   model.PolicyRef  // a policy
	Endpoint model.EndpointID // an ExternalWorkload, if Policy is empty
	Group    string           // an AddressGroup, if the others are empty
}

// Outcome is what was decided about an object.
type Outcome struct {
	UID        types.UID
	Generation int64 // metadata.generation of the spec that was judged
	Accepted   bool
	Reason     string // why not; a constant of api/v1alpha1
	Message    string
	Older      bool // an earlier spec is in force instead
	// Counter is the first published state that holds what is in force.
	Counter publish.Counter
	// Audit, External and ExpiresAt are those of the spec in force; External says that its
	// subject is external workloads.
	Audit     bool
	External  bool
	ExpiresAt time.Time
	// Network says that it has rules about packets, Sections which runtime sections
	// it has, Asks what their rules need a node to judge, and Prevent that these need
	// a node that prevents.
	Network  bool
	Sections []model.Section
	Asks     [model.Sections][]Ask
	Prevent  bool
	// Exceptions are those of its runtime sections, by SECTION/NAME, and when each ends.
	Exceptions map[string]time.Time
}

// Outcome returns what was decided about an object, false if it has not been
// looked at yet or is gone.
func (e *Engine) Outcome(o Object) (Outcome, bool) {
	e.init()
	e.mu.Lock()
	defer e.mu.Unlock()
	if o.Policy != (model.PolicyRef{}) {
		p, ok := e.policies[o.Policy]
		if !ok || !p.judged {
			return Outcome{}, false
		}
		return p.outcome, true
	}
	out, ok := e.peers[o]
	return out, ok
}

// Subjects tells whom a policy selects.
func (e *Engine) Subjects(ref model.PolicyRef) compile.Subjects {
	e.init()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.compiler.Subjects(ref)
}

// Policies lists all policies that were looked at, sorted.
func (e *Engine) Policies() []model.PolicyRef {
	e.init()
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]model.PolicyRef, 0, len(e.policies))
	for ref := range e.policies {
		out = append(out, ref)
	}
	slices.SortFunc(out, model.ComparePolicyRefs)
	return out
}

// Work counts what compiling has done since the start.
func (e *Engine) Work() compile.Stats {
	e.init()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.compiler.Stats()
}
