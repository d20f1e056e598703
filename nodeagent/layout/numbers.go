package layout

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// class is a peer class: a set of groups that some address's kind and part make.
type class struct {
	key    string
	groups []snapshot.GroupID
	used   bool
}

// row is a rule set's row of the matrix.
type row struct {
	id       snapshot.RulesetID
	used     bool
	records  []uint16 // by class; 0: not asked for
	isolated bool     // peers in no group are denied
}

// record is the place of a port program.
type record struct {
	id   snapshot.ProgramID
	used bool
}

// numbers are the dense local numbers given out for policy. An update works on a
// clone, which replaces the original when all of it could be resolved.
type numbers struct {
	cut       *cut
	combos    map[combo]uint32
	classes   []class
	classKeys map[string]uint32
	rows      []row
	rowIDs    map[snapshot.RulesetID]uint32
	records   []record // number 0 is never given out: it denies as broken
	recordIDs map[snapshot.ProgramID]uint16
	freeFrom  int // no record below is free
	rules     *slots
	runtimeNumbers
}

func newNumbers() *numbers {
	return &numbers{
		cut:       newCut(nil),
		combos:    map[combo]uint32{},
		classKeys: map[string]uint32{},
		rowIDs:    map[snapshot.RulesetID]uint32{},
		records:   []record{{}},
		recordIDs: map[snapshot.ProgramID]uint16{},
		rules:     newSlots(),
		runtimeNumbers: runtimeNumbers{
			runtimeIDs:   map[snapshot.RulesetID]uint32{},
			runtimeKinds: map[snapshot.KindID]uint32{},
		},
	}
}

func (n *numbers) clone() *numbers {
	c := *n
	c.combos = maps.Clone(n.combos)
	c.classes = slices.Clone(n.classes)
	c.classKeys = maps.Clone(n.classKeys)
	c.rows = slices.Clone(n.rows)
	c.rowIDs = maps.Clone(n.rowIDs)
	c.records = slices.Clone(n.records)
	c.recordIDs = maps.Clone(n.recordIDs)
	c.rules = n.rules.clone()
	c.runtimeNumbers = n.runtimeNumbers.clone()
	return &c
}

// partPrefix is the part of an address as combos name it.
func (n *numbers) partPrefix(a netip.Addr) netip.Prefix {
	if i := n.cut.find(a); i != noPart {
		return n.cut.prefixes[i]
	}
	return netip.Prefix{}
}

// union merges two sorted lists of groups.
func union(a, b []snapshot.GroupID) []snapshot.GroupID {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := append(slices.Clone(a), b...)
	slices.SortFunc(out, snapshot.CompareGroupIDs)
	return slices.Compact(out)
}

// intersect keeps what two sorted lists of groups share.
func intersect(out, a, b []snapshot.GroupID) []snapshot.GroupID {
	for len(a) > 0 && len(b) > 0 {
		switch d := snapshot.CompareGroupIDs(a[0], b[0]); {
		case d < 0:
			a = a[1:]
		case d > 0:
			b = b[1:]
		default:
			out = append(out, a[0])
			a, b = a[1:], b[1:]
		}
	}
	return out
}

func keyOfGroups(groups []snapshot.GroupID) string {
	b := make([]byte, 0, 16*len(groups))
	for _, g := range groups {
		b = append(b, g[:]...)
	}
	return string(b)
}

// classify gives every combo its class. The classes that remain in use keep their
// numbers; new ones get the lowest free ones, in the order of their groups.
func (n *numbers) classify(s *store, combos map[combo]struct{}) {
	for i := range n.classes {
		n.classes[i].used = false
	}
	groupsOf := make(map[string][]snapshot.GroupID)
	keys := make(map[combo]string, len(combos))
	for c := range combos {
		groups := union(s.kinds[c.kind], s.parts[c.part])
		key := keyOfGroups(groups)
		keys[c] = key
		groupsOf[key] = groups
		if number, ok := n.classKeys[key]; ok {
			n.classes[number].used = true
		}
	}
	for i := range n.classes {
		if !n.classes[i].used {
			delete(n.classKeys, n.classes[i].key)
			n.classes[i] = class{}
		}
	}
	next := 0
	for _, key := range slices.Sorted(maps.Keys(groupsOf)) {
		if _, ok := n.classKeys[key]; ok {
			continue
		}
		for next < len(n.classes) && n.classes[next].used {
			next++
		}
		if next == len(n.classes) {
			n.classes = append(n.classes, class{})
		}
		n.classes[next] = class{key: key, groups: groupsOf[key], used: true}
		n.classKeys[key] = uint32(next)
	}
	n.combos = make(map[combo]uint32, len(combos))
	for c, key := range keys {
		n.combos[c] = n.classKeys[key]
	}
}

// placeRows gives a row to every rule set that some subject has.
func (n *numbers) placeRows(s *store) error {
	needed := make(map[snapshot.RulesetID]bool)
	for _, sub := range s.subjects {
		needed[sub.Ingress], needed[sub.Egress] = true, true
	}
	for _, id := range s.runtimePeers() {
		needed[id] = true
	}
	for i := range n.rows {
		n.rows[i].used = needed[n.rows[i].id] && n.rows[i].used
		if !n.rows[i].used {
			delete(n.rowIDs, n.rows[i].id)
			n.rows[i] = row{}
		}
	}
	next := 0
	for _, id := range sortedIDs(needed) {
		if _, ok := s.rulesets[id]; !ok {
			return fmt.Errorf("ruleset %x: %w: a subject refers to it", id, ErrIncomplete)
		}
		if _, ok := n.rowIDs[id]; ok {
			continue
		}
		for next < len(n.rows) && n.rows[next].used {
			next++
		}
		if next == len(n.rows) {
			n.rows = append(n.rows, row{})
		}
		n.rows[next] = row{id: id, used: true}
		n.rowIDs[id] = uint32(next)
	}
	return nil
}

func sortedIDs[ID ~[16]byte](m map[ID]bool) []ID {
	ids := slices.Collect(maps.Keys(m))
	slices.SortFunc(ids, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

// fillRows finds the record of every class in every row. What a row already knows
// about a class holds as long as neither changed.
func (n *numbers) fillRows(s *store, c *changes, oldKeys []string) error {
	kept := func(class int) bool { return class < len(oldKeys) && oldKeys[class] == n.classes[class].key }
	var scratch []snapshot.GroupID
	for i := range n.rows {
		r := &n.rows[i]
		if !r.used {
			continue
		}
		known := r.records
		if c.rulesets[r.id] {
			known = nil
		}
		r.records = make([]uint16, len(n.classes))
		groups := s.rulesets[r.id].Groups
		for j := range n.classes {
			if !n.classes[j].used {
				continue
			}
			if j < len(known) && known[j] != 0 && kept(j) {
				r.records[j] = known[j]
				continue
			}
			scratch = intersect(scratch[:0], n.classes[j].groups, groups)
			record, _, err := n.record(s, r.id, scratch)
			if err != nil {
				return err
			}
			r.records[j] = record
		}
		_, deny, err := n.record(s, r.id, nil)
		if err != nil {
			return err
		}
		r.isolated = deny
	}
	return nil
}

// record is the number of the program that answers in a rule set for a set of groups.
func (n *numbers) record(s *store, id snapshot.RulesetID, groups []snapshot.GroupID) (number uint16, deny bool, err error) {
	set := snapshot.SetOf(groups)
	program, ok := s.cells[id][set]
	if !ok {
		return 0, false, fmt.Errorf("ruleset %x: %w: no cell for the set of %d groups %x", id, ErrIncomplete, len(groups), set)
	}
	p, ok := s.programs[program]
	if !ok {
		return 0, false, fmt.Errorf("ruleset %x: %w: program %x", id, ErrIncomplete, program)
	}
	if number, ok = n.recordIDs[program]; !ok {
		if len(n.recordIDs) >= maxRecords {
			return 0, false, fmt.Errorf("port programs: %w: at most %d", ErrCapacity, maxRecords)
		}
		number = n.freeRecord()
		n.records[number].id = program
		n.recordIDs[program] = number
	}
	return number, p.Default.Deny, nil
}

// maxRecords is how many records a cell's 16 bits can tell apart, less number 0.
const maxRecords = 1<<16 - 1

func (n *numbers) freeRecord() uint16 {
	i := max(n.freeFrom, 1)
	for i < len(n.records) && n.records[i].id != (snapshot.ProgramID{}) {
		i++
	}
	if i == len(n.records) {
		n.records = append(n.records, record{})
	}
	n.freeFrom = i + 1
	return uint16(i)
}

// sweepRecords frees the records that no row uses.
func (n *numbers) sweepRecords() {
	n.freeFrom = 0
	for i := range n.records {
		n.records[i].used = false
	}
	for i := range n.rows {
		for _, r := range n.rows[i].records {
			n.records[r].used = r != 0
		}
	}
	for i := 1; i < len(n.records); i++ {
		if !n.records[i].used {
			delete(n.recordIDs, n.records[i].id)
			n.records[i] = record{}
		}
	}
}

// placeRules gives a slot to every rule, and checks that programs name no others.
func (n *numbers) placeRules(s *store, c *changes, limit int) error {
	for id := range n.rules.byID {
		if _, ok := s.rules[id]; !ok {
			n.rules.release(id, c.gone[id])
		}
	}
	needed := make(map[snapshot.RuleID]bool, len(s.rules))
	for id := range s.rules {
		needed[id] = true
	}
	for _, id := range sortedIDs(needed) {
		if err := n.rules.place(id, limit); err != nil {
			return err
		}
	}
	for i := 1; i < len(n.records); i++ {
		if !n.records[i].used {
			continue
		}
		p := s.programs[n.records[i].id]
		for _, a := range answersOf(p) {
			for _, id := range [...]snapshot.RuleID{a.Rule, a.StagedRule} {
				if _, ok := n.rules.byID[id]; !ok {
					return fmt.Errorf("program %x: %w: rule %x", p.ID, ErrIncomplete, id)
				}
			}
		}
	}
	return nil
}

func answersOf(p snapshot.ProgramRow) []snapshot.Answer {
	out := []snapshot.Answer{p.Default}
	for _, s := range p.Segments {
		out = append(out, s.Answer)
	}
	return out
}

// word is an answer's half as the kernel has it.
func (n *numbers) word(id snapshot.RuleID, deny, log bool) uint32 {
	w := uint32(n.rules.byID[id])
	if deny {
		w |= bpf.WordDeny
	}
	if log {
		w |= bpf.WordLog
	}
	return w
}

func (n *numbers) answer(a snapshot.Answer) bpf.Answer {
	return bpf.Answer{
		Enforced: n.word(a.Rule, a.Deny, a.Log),
		Staged:   n.word(a.StagedRule, a.StagedDeny, a.StagedLog),
	}
}
