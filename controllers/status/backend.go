package status

import (
	"fmt"
	"strings"

	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot/wire"
)

// Backend is how a node enforces a section of runtime rules, as its agent says it.
type Backend string

// The backends that are not all alike to a policy; every other one prevents.
const (
	Signal Backend = "signal" // kills after the fact
	None   Backend = "none"   // does nothing
)

// Prevents reports whether what a rule denies does not happen at all.
func (b Backend) Prevents() bool { return b != Signal && b != None }

// rank orders backends from the weakest.
func (b Backend) rank() int {
	switch b {
	case None:
		return 0
	case Signal:
		return 1
	}
	return 2
}

// Reported is a backend, and why it is not a stronger one.
type Reported struct {
	Backend Backend
	Message string
}

// Backends is what a node says of each section; a section that it says nothing of
// is empty.
type Backends [model.Sections]Reported

// note takes a condition of an agent's report in, if it is about a backend.
func (b *Backends) note(c publish.Condition) {
	name, ok := strings.CutPrefix(c.Type, wire.ConditionRuntime)
	if !ok {
		return
	}
	for s := range b {
		if strings.EqualFold(model.Section(s).String(), name) {
			b[s] = Reported{Backend(c.Reason), c.Message}
		}
	}
}

// weakest is the backend that a policy with these sections can count on, and the
// section that has it. It is not known where the node says nothing of one of them.
func (b *Backends) weakest(sections []model.Section) (Backend, model.Section, bool) {
	if len(sections) == 0 {
		return "", 0, false
	}
	at := sections[0]
	for _, s := range sections {
		if b[s].Backend == "" {
			return "", s, false
		}
		if b[s].Backend.rank() < b[at].Backend.rank() {
			at = s
		}
	}
	return b[at].Backend, at, true
}

// Demand is what a policy asks of a node.
type Demand struct {
	Network  bool // it has rules about packets
	Sections []model.Section
	Prevent  bool
}

// how says by what a policy with runtime rules is enforced on nodes: that a rule is
// in force is one thing, that nothing happens in spite of it another.
func how(nodes []Node) string {
	var prevented, killed int
	for i := range nodes {
		switch {
		case nodes[i].Backend == "":
		case nodes[i].Backend.Prevents():
			prevented++
		case nodes[i].Backend == Signal:
			killed++
		}
	}
	switch {
	case prevented == 0 && killed == 0:
		return ""
	case killed == 0:
		return "prevented on " + nodeCount(prevented)
	case prevented == 0:
		return "killed after the fact on " + nodeCount(killed)
	}
	return fmt.Sprintf("prevented on %s, killed after the fact on %d", nodeCount(prevented), killed)
}
