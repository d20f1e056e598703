package datapath

import (
	"slices"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// Departed is a rule that had a slot in the generations before Until. Events of those
// may still be unread when the slot is another's.
type Departed struct {
	Slot  bpf.RuleSlot
	Until snapshot.Generation
	Row   snapshot.RuleRow
	// Nameless: of Row only the ID is known, for the rule came and went with others.
	Nameless bool `json:",omitempty"`
}

// maxDeparted bounds how many are remembered: the oldest go first.
const maxDeparted = 4096

// Departed lists the rules that left since Open, and those that Recall was told.
func (d *Datapath) Departed() []Departed {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.engine.departed)
}

// Recall tells which rules left before Open, the first first.
func (d *Datapath) Recall(before []Departed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.engine.departed = append(slices.Clone(before), d.engine.departed...)
}

// depart remembers the rules whose slots are being released. adopted are those that a
// predecessor placed, and whose rows this process never had.
func (e *engine) depart(leaving []bpf.RuleSlot, adopted map[bpf.RuleSlot]snapshot.RuleID) {
	until, _ := e.layout.Generation()
	for _, slot := range leaving {
		gone := Departed{Slot: slot, Until: until}
		row, ok := e.layout.Rule(slot)
		if gone.Row = row; !ok || row.ID == (snapshot.RuleID{}) {
			gone.Row, gone.Nameless = snapshot.RuleRow{ID: adopted[slot]}, true
		}
		e.departed = append(e.departed, gone)
	}
	if over := len(e.departed) - maxDeparted; over > 0 {
		e.departed = slices.Clone(e.departed[over:])
	}
}

// attributionAt is what a word of an event of a generation stands for: the slot's rule
// of then, which need not be the one of now.
func (d *Datapath) attributionAt(word uint32, g snapshot.Generation) Attribution {
	slot := bpf.RuleSlot(word & bpf.WordRule)
	for _, gone := range d.engine.departed {
		if gone.Slot != slot || g.Compare(gone.Until) >= 0 {
			continue
		}
		a := Attribution{Decision: Decision{Deny: word&bpf.WordDeny != 0, Log: word&bpf.WordLog != 0, Rule: gone.Row.ID}}
		if !gone.Nameless {
			a.Row = gone.Row
		}
		return a
	}
	return d.attribution(word)
}
