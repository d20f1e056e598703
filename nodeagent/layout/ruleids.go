package layout

import (
	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// RuleIDs says which rules have slots. Unlike Rule it knows those that AdoptRules took
// over before any row was seen.
func (l *Layout) RuleIDs() map[bpf.RuleSlot]snapshot.RuleID {
	out := map[bpf.RuleSlot]snapshot.RuleID{}
	for i, id := range l.n.rules.ids {
		if id != (snapshot.RuleID{}) {
			out[bpf.RuleFirst+bpf.RuleSlot(i)] = id
		}
	}
	return out
}
