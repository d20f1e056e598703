package status

import (
	"fmt"
	"slices"
	"strings"

	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Backend is how a node enforces a section of runtime rules, as its agent says it.
type Backend string

// The backends that are not all alike to a policy; every other one prevents.
const (
	Cgroup Backend = "cgroup" // prevents what it sees of sockets
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

// Reported is a backend, why it is not a stronger one, and what of the section it cannot
// judge, or not in every case, as bits that package snapshot explains (AskScript …).
type Reported struct {
	Backend  Backend
	Message  string
	Unjudged uint32
}

// sees reports whether rules that ask for such bits are judged at all: what the security
// framework may miss it misses now and then, the other backends always.
func (r *Reported) sees(bits uint32) bool {
	if r.Backend != Cgroup && r.Backend != Signal {
		return true
	}
	return bits&^(r.Unjudged|snapshot.AskFromScript) != 0
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

// unjudged says which rules ask for some of the bits that the node cannot judge, and why;
// empty if there are none.
func (b *Backends) unjudged(demand *Demand, bits uint32) string {
	return b.told(demand, func(r *Reported, a gather.Ask) bool { return a.Bits&r.Unjudged&bits != 0 }, "")
}

// unseen says which rules ask for nothing that the node judges, and why; empty if there
// are none.
func (b *Backends) unseen(demand *Demand) string {
	return b.told(demand, func(r *Reported, a gather.Ask) bool { return !r.sees(a.Bits) }, " cannot be enforced")
}

// told names rules, section by section, and says why they are named.
func (b *Backends) told(demand *Demand, concerns func(*Reported, gather.Ask) bool, what string) string {
	var out []string
	for _, s := range demand.Sections {
		var rules []string
		for _, a := range demand.Asks[s] {
			if concerns(&b[s], a) {
				rules = append(rules, s.String()+"/"+a.Rule)
			}
		}
		if len(rules) > 0 {
			out = append(out, fmt.Sprintf("%s%s by %s: %s", names(rules), what, b[s].Backend, b[s].Message))
		}
	}
	return strings.Join(out, "; ")
}

// concerning names the rules of a section that ask for anything to be stopped.
func concerning(s model.Section, demand *Demand) string {
	var rules []string
	for _, a := range demand.Asks[s] {
		rules = append(rules, s.String()+"/"+a.Rule)
	}
	if len(rules) == 0 {
		return ""
	}
	return ", which is about " + names(rules)
}

// by lists the backends of sections.
func (b *Backends) by(sections []model.Section) []SectionBackend {
	var out []SectionBackend
	for _, s := range sections {
		out = append(out, SectionBackend{s, b[s].Backend})
	}
	return out
}

// SectionBackend is by what a node enforces a section of a policy.
type SectionBackend struct {
	Section model.Section
	Backend Backend
}

// Demand is what a policy asks of a node.
type Demand struct {
	Network  bool // it has rules about packets
	Sections []model.Section
	Asks     [model.Sections][]gather.Ask
	Prevent  bool
}

// how says by what a policy with runtime rules is enforced on nodes: that a rule is
// in force is one thing, that nothing happens in spite of it another. What a node cannot
// judge at all is told with the first such node's reason; done is what does not happen to
// it there, where that is not plain.
func how(nodes []Node, done string) string {
	count := map[string]int{}
	var kinds []string
	var partly []*Node
	for i := range nodes {
		n := &nodes[i]
		if n.Unjudged != "" {
			partly = append(partly, n)
		}
		if n.Backend == "" || n.Backend == None {
			continue
		}
		kind := n.means()
		if count[kind]++; count[kind] == 1 {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		return ""
	}
	slices.SortFunc(kinds, byStrength)
	var text string
	for i, kind := range kinds {
		if i == 0 {
			text = kind + " on " + nodeCount(count[kind])
			continue
		}
		text += fmt.Sprintf(", %s on %d", kind, count[kind])
	}
	if len(partly) > 0 {
		operation := strings.TrimSpace("operation " + done)
		text += fmt.Sprintf("; not every %s on %s: %s: %s", operation, nodeCount(len(partly)), partly[0].Name, partly[0].Unjudged)
	}
	return text
}

// What comes of rules on a node.
const (
	prevented = "prevented"
	killed    = "killed after the fact"
)

// byStrength puts what prevents everything first and what prevents nothing last.
func byStrength(a, b string) int {
	rank := func(kind string) int {
		switch kind {
		case prevented:
			return 0
		case killed:
			return 2
		}
		return 1
	}
	if c := rank(a) - rank(b); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

// means says what comes of a policy's rules on a node: by section where that differs.
func (n *Node) means() string {
	var by [2][]string
	for _, s := range n.Sections {
		i := 0
		if !s.Backend.Prevents() {
			i = 1
		}
		by[i] = append(by[i], s.Section.String())
	}
	switch {
	case len(by[0]) > 0 && len(by[1]) > 0:
		return strings.Join(by[0], ", ") + " " + prevented + " and " + strings.Join(by[1], ", ") + " " + killed
	case n.Backend.Prevents():
		return prevented
	}
	return killed
}
