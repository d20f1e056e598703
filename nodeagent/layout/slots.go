package layout

import (
	"fmt"
	"maps"
	"slices"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// slots are the numbers of rules in the kernel. Unlike other numbers they outlive
// a side, for counters and events refer to them: a slot that is free again waits in
// leaving until both sides have forgotten it and its counter is read and cleared.
type slots struct {
	byID    map[snapshot.RuleID]bpf.RuleSlot
	ids     []snapshot.RuleID // by slot, from bpf.RuleFirst on
	free    []bpf.RuleSlot    // the longest free first: events of the last user may still come
	former  map[bpf.RuleSlot]snapshot.RuleRow
	leaving []bpf.RuleSlot
}

func newSlots() *slots {
	return &slots{byID: map[snapshot.RuleID]bpf.RuleSlot{}, former: map[bpf.RuleSlot]snapshot.RuleRow{}}
}

func (s *slots) clone() *slots {
	return &slots{maps.Clone(s.byID), slices.Clone(s.ids), slices.Clone(s.free), maps.Clone(s.former), slices.Clone(s.leaving)}
}

func (s *slots) place(id snapshot.RuleID, limit int) error {
	if _, ok := s.byID[id]; ok {
		return nil
	}
	var slot bpf.RuleSlot
	if len(s.free) > 0 {
		slot, s.free = s.free[0], s.free[1:]
	} else {
		slot = bpf.RuleFirst + bpf.RuleSlot(len(s.ids))
		if int(slot) >= limit {
			return fmt.Errorf("rules: %w: at most %d", ErrCapacity, limit-int(bpf.RuleFirst))
		}
		s.ids = append(s.ids, snapshot.RuleID{})
	}
	s.ids[slot-bpf.RuleFirst] = id
	s.byID[id] = slot
	delete(s.former, slot)
	return nil
}

// release frees the slot of a rule, whose last row is kept for what is late.
func (s *slots) release(id snapshot.RuleID, row snapshot.RuleRow) {
	slot := s.byID[id]
	s.former[slot] = row
	delete(s.byID, id)
	s.ids[slot-bpf.RuleFirst] = snapshot.RuleID{}
	s.leaving = append(s.leaving, slot)
}

// adopt takes over the slots that an earlier agent gave.
func (s *slots) adopt(ids []snapshot.RuleID) {
	for i, id := range ids {
		slot := bpf.RuleFirst + bpf.RuleSlot(i)
		if _, twice := s.byID[id]; twice {
			id = snapshot.RuleID{}
		}
		s.ids = append(s.ids, id)
		if id == (snapshot.RuleID{}) {
			s.free = append(s.free, slot)
			continue
		}
		s.byID[id] = slot
	}
}
