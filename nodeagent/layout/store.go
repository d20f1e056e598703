package layout

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"palisade.dev/palisade/snapshot"
)

// resident is what an address row means to a node.
type resident struct {
	kind snapshot.KindID
	uid  string
}

// store holds the decoded rows, by what they are looked up by.
type store struct {
	meta      snapshot.MetaRow
	rules     map[snapshot.RuleID]snapshot.RuleRow
	programs  map[snapshot.ProgramID]snapshot.ProgramRow
	rulesets  map[snapshot.RulesetID]snapshot.RulesetRow
	cells     map[snapshot.RulesetID]map[snapshot.SetID]snapshot.ProgramID
	kinds     map[snapshot.KindID][]snapshot.GroupID
	parts     map[netip.Prefix][]snapshot.GroupID
	subjects  map[snapshot.KindID]snapshot.SubjectRow
	locals    map[string]snapshot.LocalRow
	addresses map[netip.Addr]resident
	byUID     map[string][]netip.Addr // of addresses, those of pods
	facts     map[netip.Addr]Binding
	runtime   runtimeRows
}

func newStore() *store {
	return &store{
		rules:     map[snapshot.RuleID]snapshot.RuleRow{},
		programs:  map[snapshot.ProgramID]snapshot.ProgramRow{},
		rulesets:  map[snapshot.RulesetID]snapshot.RulesetRow{},
		cells:     map[snapshot.RulesetID]map[snapshot.SetID]snapshot.ProgramID{},
		kinds:     map[snapshot.KindID][]snapshot.GroupID{},
		parts:     map[netip.Prefix][]snapshot.GroupID{},
		subjects:  map[snapshot.KindID]snapshot.SubjectRow{},
		locals:    map[string]snapshot.LocalRow{},
		addresses: map[netip.Addr]resident{},
		byUID:     map[string][]netip.Addr{},
		facts:     map[netip.Addr]Binding{},
		runtime:   newRuntimeRows(),
	}
}

// changes says what an update touched, and how to take it back.
type changes struct {
	undo []func()
	// policy: rows other than addresses, locals and facts changed.
	policy bool
	// parts: the cut of the address space changed, so that every address may be elsewhere.
	parts     bool
	rulesets  map[snapshot.RulesetID]bool // whose cells are no longer what they were
	programs  map[snapshot.ProgramID]bool // whose content changed
	addresses map[netip.Addr]struct{}     // whose holder changed
	uids      map[string]struct{}         // pods whose row or addresses changed
	gone      map[snapshot.RuleID]snapshot.RuleRow

	runtimeRules    map[snapshot.RuleID]bool    // whose content changed, or whose name did
	runtimeRulesets map[snapshot.RulesetID]bool // likewise
}

func newChanges() *changes {
	return &changes{
		rulesets:  map[snapshot.RulesetID]bool{},
		programs:  map[snapshot.ProgramID]bool{},
		addresses: map[netip.Addr]struct{}{},
		uids:      map[string]struct{}{},
		gone:      map[snapshot.RuleID]snapshot.RuleRow{},

		runtimeRules:    map[snapshot.RuleID]bool{},
		runtimeRulesets: map[snapshot.RulesetID]bool{},
	}
}

func (c *changes) rollback() {
	for i := len(c.undo) - 1; i >= 0; i-- {
		c.undo[i]()
	}
}

// put sets a key of a map and remembers what was there.
func put[K comparable, V any](c *changes, m map[K]V, k K, v V) {
	old, had := m[k]
	c.undo = append(c.undo, func() { restore(m, k, old, had) })
	m[k] = v
}

// drop removes a key of a map and remembers what was there.
func drop[K comparable, V any](c *changes, m map[K]V, k K) {
	old, had := m[k]
	if !had {
		return
	}
	c.undo = append(c.undo, func() { restore(m, k, old, had) })
	delete(m, k)
}

func restore[K comparable, V any](m map[K]V, k K, old V, had bool) {
	if had {
		m[k] = old
	} else {
		delete(m, k)
	}
}

// upsert takes one row in.
func (s *store) upsert(c *changes, row snapshot.Row) {
	switch r := row.(type) {
	case snapshot.MetaRow:
		old := s.meta
		c.undo = append(c.undo, func() { s.meta = old })
		s.meta = r
		c.policy, c.parts = true, true
	case snapshot.RuleRow:
		put(c, s.rules, r.ID, r)
		c.policy = true
	case snapshot.ProgramRow:
		put(c, s.programs, r.ID, r)
		c.policy, c.programs[r.ID] = true, true
	case snapshot.RulesetRow:
		put(c, s.rulesets, r.ID, r)
		c.policy, c.rulesets[r.ID] = true, true
	case snapshot.CellRow:
		if s.cells[r.Ruleset] == nil {
			put(c, s.cells, r.Ruleset, map[snapshot.SetID]snapshot.ProgramID{})
		}
		put(c, s.cells[r.Ruleset], r.Set, r.Program)
		c.policy, c.rulesets[r.Ruleset] = true, true
	case snapshot.KindRow:
		put(c, s.kinds, r.ID, r.Groups)
		c.policy = true
	case snapshot.PartRow:
		put(c, s.parts, r.Prefix, r.Groups)
		c.policy, c.parts = true, true
	case snapshot.SubjectRow:
		put(c, s.subjects, r.Kind, r)
		c.policy = true
	case snapshot.LocalRow:
		put(c, s.locals, r.UID, r)
		c.uids[r.UID] = struct{}{}
	case snapshot.AddressRow:
		s.vacate(c, r.Addr)
		put(c, s.addresses, r.Addr, resident{kind: r.Kind, uid: r.UID})
		if r.UID != "" {
			put(c, s.byUID, r.UID, append(slices.Clone(s.byUID[r.UID]), r.Addr))
			c.uids[r.UID] = struct{}{}
		}
	default:
		s.upsertRuntime(c, row)
	}
}

// remove takes one row out; the row needs no more than its key.
func (s *store) remove(c *changes, row snapshot.Row) {
	switch r := row.(type) {
	case snapshot.MetaRow:
		s.upsert(c, snapshot.MetaRow{})
	case snapshot.RuleRow:
		c.gone[r.ID] = s.rules[r.ID]
		drop(c, s.rules, r.ID)
		c.policy, c.runtimeRules[r.ID] = true, true
	case snapshot.ProgramRow:
		drop(c, s.programs, r.ID)
		c.policy, c.programs[r.ID] = true, true
	case snapshot.RulesetRow:
		drop(c, s.rulesets, r.ID)
		c.policy, c.rulesets[r.ID] = true, true
	case snapshot.CellRow:
		if sets := s.cells[r.Ruleset]; sets != nil {
			drop(c, sets, r.Set)
			if len(sets) == 0 {
				drop(c, s.cells, r.Ruleset)
			}
		}
		c.policy, c.rulesets[r.Ruleset] = true, true
	case snapshot.KindRow:
		drop(c, s.kinds, r.ID)
		c.policy = true
	case snapshot.PartRow:
		drop(c, s.parts, r.Prefix)
		c.policy, c.parts = true, true
	case snapshot.SubjectRow:
		drop(c, s.subjects, r.Kind)
		c.policy = true
	case snapshot.LocalRow:
		drop(c, s.locals, r.UID)
		c.uids[r.UID] = struct{}{}
	case snapshot.AddressRow:
		s.vacate(c, r.Addr)
	default:
		s.removeRuntime(c, row)
	}
}

// vacate takes an address from whom the snapshot says has it.
func (s *store) vacate(c *changes, a netip.Addr) {
	s.touchAddress(c, a)
	r, ok := s.addresses[a]
	if !ok {
		return
	}
	drop(c, s.addresses, a)
	if r.uid == "" {
		return
	}
	rest := slices.DeleteFunc(slices.Clone(s.byUID[r.uid]), func(b netip.Addr) bool { return a == b })
	if len(rest) > 0 {
		put(c, s.byUID, r.uid, rest)
	} else {
		drop(c, s.byUID, r.uid)
	}
}

// touchAddress marks an address, and the pod that has it, as changed.
func (s *store) touchAddress(c *changes, a netip.Addr) {
	c.addresses[a] = struct{}{}
	if r, ok := s.addresses[a]; ok && r.uid != "" {
		c.uids[r.uid] = struct{}{}
	}
	if f, ok := s.facts[a]; ok {
		c.uids[f.UID] = struct{}{}
	}
}

// stranger reports whether a pod is here that the snapshot does not know: it started
// while the controller was away, or sooner than the controller was told.
func (s *store) stranger() bool {
	for _, f := range s.facts {
		if _, ok := s.locals[f.UID]; !ok {
			return true
		}
	}
	return false
}

// bind makes the facts exactly those given. The last of two for one address counts.
func (s *store) bind(c *changes, facts []Binding) {
	next := make(map[netip.Addr]Binding, len(facts))
	for _, f := range facts {
		f.Addr = f.Addr.Unmap().WithZone("")
		next[f.Addr] = f
	}
	for a := range s.facts {
		if _, ok := next[a]; !ok {
			s.touchAddress(c, a)
			drop(c, s.facts, a)
		}
	}
	for a, f := range next {
		if old, ok := s.facts[a]; ok && old == f {
			continue
		}
		s.touchAddress(c, a)
		put(c, s.facts, a, f)
		s.touchAddress(c, a)
	}
}

// take applies an update to the rows. On error the caller rolls back.
func (s *store) take(c *changes, u Update) error {
	if u.Full {
		s.reset(c)
	}
	for _, id := range u.Delta.Deletes {
		row, err := keyRow(id)
		if err != nil {
			return err
		}
		s.remove(c, row)
	}
	for _, e := range u.Delta.Upserts {
		row, err := snapshot.Decode(e)
		if err != nil {
			return err
		}
		s.upsert(c, row)
	}
	if u.Facts != nil {
		s.bind(c, u.Facts)
	}
	return nil
}

// reset empties the rows and leaves the facts.
func (s *store) reset(c *changes) {
	old := *s
	c.undo = append(c.undo, func() { *s = old })
	c.policy, c.parts = true, true
	for id := range s.rulesets {
		c.rulesets[id] = true
	}
	for id := range s.programs {
		c.programs[id] = true
	}
	maps.Copy(c.gone, s.rules)
	for id := range s.runtime.rulesets {
		c.runtimeRulesets[id] = true
	}
	for uid := range s.locals {
		c.uids[uid] = struct{}{}
	}
	for a := range s.addresses {
		s.touchAddress(c, a)
	}
	facts := maps.Clone(s.facts)
	*s = *newStore()
	s.facts = facts
}

// keyRow is the row with the key of a deleted entry and no value.
func keyRow(id snapshot.EntryKey) (snapshot.Row, error) {
	key := []byte(id.Key)
	want := func(n int) error {
		if len(key) != n {
			return fmt.Errorf("delete from table %s: key of %d bytes, want %d", id.Table, len(key), n)
		}
		return nil
	}
	switch id.Table {
	case snapshot.TableMeta:
		return snapshot.MetaRow{}, want(0)
	case snapshot.TableRule:
		return snapshot.RuleRow{ID: snapshot.RuleID(pad16(key))}, want(16)
	case snapshot.TableProgram:
		return snapshot.ProgramRow{ID: snapshot.ProgramID(pad16(key))}, want(16)
	case snapshot.TableRuleset:
		return snapshot.RulesetRow{ID: snapshot.RulesetID(pad16(key))}, want(16)
	case snapshot.TableCell:
		if err := want(32); err != nil {
			return nil, err
		}
		return snapshot.CellRow{Ruleset: snapshot.RulesetID(key[:16]), Set: snapshot.SetID(key[16:])}, nil
	case snapshot.TableKind:
		return snapshot.KindRow{ID: snapshot.KindID(pad16(key))}, want(16)
	case snapshot.TablePart:
		return partKey(key)
	case snapshot.TableSubject:
		return snapshot.SubjectRow{Kind: snapshot.KindID(pad16(key))}, want(16)
	case snapshot.TableLocal:
		return snapshot.LocalRow{UID: id.Key}, nil
	case snapshot.TableAddress:
		return addressKey(key)
	}
	return runtimeKeyRow(id)
}

func pad16(b []byte) (out [16]byte) {
	copy(out[:], b)
	return out
}
