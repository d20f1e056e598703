package layout

import (
	"fmt"
	"maps"
	"slices"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// runtimeSet is a numbered rule set.
type runtimeSet struct {
	id    snapshot.RulesetID
	rules *compiled // nil: the number is free
}

// runtimeNumbers are the numbers given out for runtime rules.
type runtimeNumbers struct {
	runtimeSets         []runtimeSet
	runtimeIDs          map[snapshot.RulesetID]uint32
	runtimeKinds        map[snapshot.KindID]uint32 // from 1 on
	runtimeDefault      bpf.RuleSlot
	runtimeUnresolvable bpf.RuleSlot
}

func (n *runtimeNumbers) clone() runtimeNumbers {
	c := *n
	c.runtimeSets = slices.Clone(n.runtimeSets)
	c.runtimeIDs = maps.Clone(n.runtimeIDs)
	c.runtimeKinds = maps.Clone(n.runtimeKinds)
	return c
}

// The rules that runtime answers without a rule are attributed to, by their names.
const (
	ruleDefault      = "(default)"
	ruleUnresolvable = "(unresolvable)"
)

// placeRuntime numbers rule sets and kinds of pods, and compiles what changed.
func (n *numbers) placeRuntime(s *store, c *changes, sec *secret) error {
	needed := map[snapshot.RulesetID]bool{}
	for kind, containers := range s.runtime.subjects {
		distinct := map[snapshot.RulesetID]bool{}
		for _, id := range containers {
			needed[id], distinct[id] = true, true
		}
		if len(distinct) > bpf.RuntimeRulesets {
			return fmt.Errorf("pods of kind %x: %w: %d different runtime rulesets, at most %d", kind, ErrCapacity, len(distinct), bpf.RuntimeRulesets)
		}
	}
	n.numberRuntimeKinds(s)
	for i := range n.runtimeSets {
		set := &n.runtimeSets[i]
		switch {
		case set.rules == nil:
		case !needed[set.id]:
			delete(n.runtimeIDs, set.id)
			*set = runtimeSet{}
		case c.runtimeRulesets[set.id] || touches(s.runtime.rulesets[set.id], c.runtimeRules):
			set.rules = nil // and compiled again below, by the same number
		}
	}
	next := 0
	for _, id := range sortedIDs(needed) {
		if _, ok := s.runtime.rulesets[id]; !ok {
			return fmt.Errorf("runtime ruleset %x: %w: a subject refers to it", id, ErrIncomplete)
		}
		number, ok := n.runtimeIDs[id]
		if !ok {
			for next < len(n.runtimeSets) && n.runtimeSets[next].id != (snapshot.RulesetID{}) {
				next++
			}
			if next == len(n.runtimeSets) {
				n.runtimeSets = append(n.runtimeSets, runtimeSet{})
			}
			number = uint32(next)
			n.runtimeIDs[id] = number
			n.runtimeSets[number].id = id
		}
		if n.runtimeSets[number].rules != nil {
			continue
		}
		r, err := n.compileRuntime(s, sec, id, number)
		if err != nil {
			return err
		}
		n.runtimeSets[number].rules = r
	}
	n.nameRuntimeRules(s)
	return nil
}

// touches reports whether some rule of a rule set is among those that changed.
func touches(r snapshot.RuntimeRulesetRow, changed map[snapshot.RuleID]bool) bool {
	return len(changed) > 0 && slices.ContainsFunc(r.Rules, func(id snapshot.RuleID) bool { return changed[id] })
}

// numberRuntimeKinds numbers the kinds of pods that have rules. Number 0 is every other.
func (n *numbers) numberRuntimeKinds(s *store) {
	used := map[uint32]bool{0: true}
	for kind, number := range n.runtimeKinds {
		if _, ok := s.runtime.subjects[kind]; ok {
			used[number] = true
		} else {
			delete(n.runtimeKinds, kind)
		}
	}
	fresh := map[snapshot.KindID]bool{}
	for kind := range s.runtime.subjects {
		if _, ok := n.runtimeKinds[kind]; !ok {
			fresh[kind] = true
		}
	}
	next := uint32(1)
	for _, kind := range sortedIDs(fresh) {
		for used[next] {
			next++
		}
		n.runtimeKinds[kind] = next
		next++
	}
}

// nameRuntimeRules finds the slots of the rules that answer where no rule does.
func (n *numbers) nameRuntimeRules(s *store) {
	n.runtimeDefault, n.runtimeUnresolvable = bpf.RuleNone, bpf.RuleBroken
	for _, row := range s.rules {
		if row.PolicyKind != 0 {
			continue // of an object
		}
		switch row.Rule {
		case ruleDefault:
			n.runtimeDefault = n.rules.byID[row.ID]
		case ruleUnresolvable:
			n.runtimeUnresolvable = n.rules.byID[row.ID]
		}
	}
}

// runtimePeers lists the rows of the matrix that runtime rules ask.
func (s *store) runtimePeers() []snapshot.RulesetID {
	var out []snapshot.RulesetID
	for _, r := range s.runtime.rules {
		if r.Peers != (snapshot.RulesetID{}) {
			out = append(out, r.Peers)
		}
	}
	return out
}

// runtimeSizes sizes the tables of runtime rules, with room to grow.
func (l *Layout) runtimeSizes(im *image) {
	rows, heap := len(l.store.locals)+len(l.store.runtime.pods), 0
	for _, set := range l.n.runtimeSets {
		if set.rules != nil {
			rows += set.rules.rows()
			heap += set.rules.heap
		}
	}
	last := uint32(0)
	for kind, number := range l.n.runtimeKinds {
		containers := len(l.store.runtime.subjects[kind])
		rows += containers
		heap += int(linesFor(containers, 16))
		last = max(last, number)
	}
	rows = room(rows, 16)
	im.rtHeader.lines = 1
	im.rtKeys.lines = bpf.RuntimeKeyLines
	im.rtFilter.lines = powerOfTwo((rows + 31) / 32)  // two bytes for a row
	im.rtRows.lines = powerOfTwo((rows*10 + 23) / 24) // at most 0.8 full
	im.rtRulesets.lines = uint32(room(len(l.n.runtimeSets), 2)) * bpf.RuntimeRulesetLines
	im.rtSubjects.lines = uint32(room(int(last)+1, 4))
	im.rtHeap.lines = uint32(room(heap, 16))
	im.rtRates.lines = linesFor(int(bpf.RuleFirst)+room(len(l.n.rules.ids), 16), 16)
}

// runtimeFits reports whether the present image has room for the numbers given out.
func (l *Layout) runtimeFits() bool {
	last := uint32(0)
	for _, number := range l.n.runtimeKinds {
		last = max(last, number)
	}
	return last < l.im.rtSubjects.lines &&
		linesFor(int(bpf.RuleFirst)+len(l.n.rules.ids), 16) <= l.im.rtRates.lines &&
		uint32(len(l.n.runtimeSets))*bpf.RuntimeRulesetLines <= l.im.rtRulesets.lines
}
