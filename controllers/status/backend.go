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

// Reported is a backend, why it is not a stronger one, and the operations of the section
// that it cannot judge, as bits.
type Reported struct {
	Backend  Backend
	Message  string
	Unjudged uint32
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
			b[s] = Reported{Backend(c.Reason), c.Message, c.Unjudged}
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

// unjudged says which section has operations of a policy that the node cannot judge, and
// why; empty if there is none.
func (b *Backends) unjudged(demand *Demand) string {
	for _, s := range demand.Sections {
		if b[s].Unjudged&demand.Operations[s] != 0 {
			return fmt.Sprintf("%s by %s: %s", s, b[s].Backend, b[s].Message)
		}
	}
	return ""
}

// Demand is what a policy asks of a node.
type Demand struct {
	Network    bool // it has rules about packets
	Sections   []model.Section
	Operations [model.Sections]uint32
	Prevent    bool
}

// how says by what a policy with runtime rules is enforced on nodes: that a rule is
// in force is one thing, that nothing happens in spite of it another. What a node cannot
// judge at all is told with the first such node's reason.
func how(nodes []Node) string {
	var prevented, killed, partly int
	var first *Node
	for i := range nodes {
		if nodes[i].Unjudged != "" {
			if partly++; first == nil {
				first = &nodes[i]
			}
		}
		switch {
		case nodes[i].Backend == "":
		case nodes[i].Backend.Prevents():
			prevented++
		case nodes[i].Backend == Signal:
			killed++
		}
	}
	var text string
	switch {
	case prevented == 0 && killed == 0:
		return ""
	case killed == 0:
		text = "prevented on " + nodeCount(prevented)
	case prevented == 0:
		text = "killed after the fact on " + nodeCount(killed)
	default:
		text = fmt.Sprintf("prevented on %s, killed after the fact on %d", nodeCount(prevented), killed)
	}
	if first != nil {
		text += fmt.Sprintf("; not every operation on %s: %s: %s", nodeCount(partly), first.Name, first.Unjudged)
	}
	return text
}
