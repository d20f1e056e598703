package layout

import (
	"net/netip"
	"slices"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// Len is the number of lines of a side.
func (l *Layout) Len() int { return len(l.im.lines) }

// Line is what line i of a side should hold.
func (l *Layout) Line(i uint32) bpf.Line { return l.im.lines[i] }

// Lines are all lines of a side. They must not be changed, and hold until the next Apply.
func (l *Layout) Lines() []bpf.Line { return l.im.lines }

// Pending lists the lines that a side has not been told of, in order. Whole says
// that the side has another size or content unknown: all lines must be written.
func (l *Layout) Pending(side int) (lines []uint32, whole bool) {
	if l.im.whole[side] {
		return nil, true
	}
	for i := range l.im.pending[side] {
		lines = append(lines, i)
	}
	slices.Sort(lines)
	return lines, false
}

// Synced says that a side now holds what the layout says.
func (l *Layout) Synced(side int) {
	l.im.whole[side] = false
	clear(l.im.pending[side])
}

// Lost says that nothing is known about what a side holds.
func (l *Layout) Lost(side int) {
	if l.im != nil {
		l.im.whole[side] = true
	}
}

// Ready reports whether an update was ever taken in.
func (l *Layout) Ready() bool { return l.im != nil }

// Rule tells what a rule slot stands for, or stood for until it became free. Slots
// below bpf.RuleFirst, and those never used, are nobody's.
func (l *Layout) Rule(slot bpf.RuleSlot) (snapshot.RuleRow, bool) {
	i := int(slot) - int(bpf.RuleFirst)
	if i < 0 || i >= len(l.n.rules.ids) {
		return snapshot.RuleRow{}, false
	}
	if row, ok := l.store.rules[l.n.rules.ids[i]]; ok {
		return row, true
	}
	row, ok := l.n.rules.former[slot]
	return row, ok
}

// RuleSlots lists the slots in use, in order.
func (l *Layout) RuleSlots() []bpf.RuleSlot {
	var out []bpf.RuleSlot
	for i, id := range l.n.rules.ids {
		if id != (snapshot.RuleID{}) {
			out = append(out, bpf.RuleFirst+bpf.RuleSlot(i))
		}
	}
	return out
}

// Leaving lists rule slots that no row names any more. When both sides are synced
// and their counters are cleared, Released makes them free.
func (l *Layout) Leaving() []bpf.RuleSlot { return slices.Clone(l.n.rules.leaving) }

// Released ends the wait of the slots that Leaving listed.
func (l *Layout) Released() {
	l.n.rules.free = append(l.n.rules.free, l.n.rules.leaving...)
	l.n.rules.leaving = nil
}

// Local is an endpoint of this node, by one of its addresses.
type Local struct {
	UID       string
	Namespace string
	Name      string
	Addr      netip.Addr
}

// Slot tells whose a slot is.
func (l *Layout) Slot(number uint32) (Local, bool) {
	if number >= uint32(len(l.slots)) || !l.slots[number].IsValid() {
		return Local{}, false
	}
	a := l.slots[number]
	row := l.store.locals[l.held[a].uid]
	return Local{row.UID, row.Namespace, row.Name, a}, true
}

// Class lists the groups of a peer class.
func (l *Layout) Class(number uint32) []snapshot.GroupID {
	if number >= uint32(len(l.n.classes)) {
		return nil
	}
	return l.n.classes[number].groups
}

// Unplaced lists the pods of this node that have no address yet, by UID.
func (l *Layout) Unplaced() []string {
	var out []string
	for uid := range l.store.locals {
		if l.counts[uid] == 0 {
			out = append(out, uid)
		}
	}
	slices.Sort(out)
	return out
}

// Size says how much of the tables is used.
type Size struct {
	Lines, Addresses, Locals, Classes, Rows, Records, Rules int
}

// Size of the present tables.
func (l *Layout) Size() Size {
	if l.im == nil {
		return Size{}
	}
	return Size{
		Lines: len(l.im.lines), Addresses: len(l.held), Locals: len(l.store.locals), Classes: len(l.n.classKeys),
		Rows: len(l.n.rowIDs), Records: len(l.n.recordIDs), Rules: len(l.n.rules.byID),
	}
}

// RulesOf reads the names of rule slots from a side's lines, for AdoptRules.
func RulesOf(lines []bpf.Line) []snapshot.RuleID {
	if len(lines) < bpf.HeaderLines {
		return nil
	}
	e := lines[1].Edges()
	var out []snapshot.RuleID
	for i := uint32(bpf.RuleFirst) / 4; i < e.RuleLines && uint64(e.RuleBase)+uint64(i) < uint64(len(lines)); i++ {
		for _, id := range lines[e.RuleBase+i].Rules().ID {
			out = append(out, id)
		}
	}
	for len(out) > 0 && out[len(out)-1] == (snapshot.RuleID{}) {
		out = out[:len(out)-1]
	}
	return out
}

// PeerGroups lists the groups of a peer, by the value of its address in the kernel.
func (l *Layout) PeerGroups(value uint32) []snapshot.GroupID {
	number := value & bpf.PeerNumber
	if value&bpf.PeerLocal == 0 {
		return l.Class(number)
	}
	if number >= uint32(len(l.slots)) {
		return nil
	}
	return l.Class(l.n.combos[l.held[l.slots[number]].combo])
}
