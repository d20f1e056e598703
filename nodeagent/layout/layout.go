package layout

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// Options bound a layout. Zero values mean the defaults.
type Options struct {
	Unbound  Unbound
	MaxLines int // of 64 bytes, per side; default 2^20
	MaxRules int // slots of rules, built-in ones included; default 65,536
	// Seed makes the places of addresses hard to guess, so that nobody can choose
	// addresses that crowd one line.
	Seed uint32
	// RuntimeSeed is what the words are drawn from that texts of runtime rules are
	// hashed with, unless AdoptRuntimeSecret brings those of an earlier agent.
	RuntimeSeed [32]byte
}

// Defaults of Options.
const (
	DefaultMaxLines = 1 << 20
	DefaultMaxRules = int(bpf.RuleFirst) + 2*snapshot.MaxRulesPerNode
)

// maxNumber bounds the numbers that a value of an address can carry.
const maxNumber = int(bpf.PeerNumber)

// placed is what the image holds about an address.
type placed struct {
	combo combo
	value uint32
	slot  int32 // -1: not local
	uid   string
}

// Layout is the state of one node's tables. It is not safe for concurrent use.
type Layout struct {
	options Options
	store   *store
	n       *numbers
	im      *image
	seed    uint32

	held    map[netip.Addr]placed
	counts  map[string]int // addresses of local pods in held
	slots   []netip.Addr   // by slot; the zero address is free
	free    []int32
	owners  map[string]uint32 // numbers of local endpoints, from 1 on
	freeOwn []uint32
	ports   map[uint32]uint32 // owners by interface
	extents *extents
	secret  *secret
	runtime *runtimeTables

	writing    bool   // the image is no longer what it was before this update
	undo       func() // takes the last update back
	generation snapshot.Generation
	digest     snapshot.Digest
}

// New returns an empty layout: nobody is local and everything is allowed.
func New(o Options) *Layout {
	if o.MaxLines == 0 {
		o.MaxLines = DefaultMaxLines
	}
	if o.MaxRules == 0 {
		o.MaxRules = DefaultMaxRules
	}
	l := &Layout{
		options: o,
		store:   newStore(),
		n:       newNumbers(),
		seed:    o.Seed,
		secret:  newSecret(o.RuntimeSeed),
	}
	l.forget()
	return l
}

// forget empties everything that rebuild makes anew from the rows.
func (l *Layout) forget() {
	l.held = map[netip.Addr]placed{}
	l.counts = map[string]int{}
	l.slots, l.free = nil, nil
	l.owners, l.freeOwn = map[string]uint32{}, nil
	l.ports = map[uint32]uint32{}
}

// AdoptRules gives rules the slots that an earlier agent gave them, as
// RulesOf reads them from a side. It must come before the first Apply.
func (l *Layout) AdoptRules(ids []snapshot.RuleID) {
	if len(l.n.rules.ids) == 0 {
		l.n.rules.adopt(ids[:min(len(ids), l.options.MaxRules-int(bpf.RuleFirst))])
	}
}

// Apply takes an update in, or nothing of it.
func (l *Layout) Apply(u Update) error {
	c := newChanges()
	before, ready, generation, digest := l.n, l.Ready(), l.generation, l.digest
	l.writing, l.undo = false, nil
	back := func() {
		c.rollback()
		l.n, l.generation, l.digest = before, generation, digest
		l.restore(ready)
	}
	if err := l.apply(c, u); err != nil {
		back()
		return err
	}
	l.generation, l.digest = u.Generation, u.Digest
	l.emitHeader()
	l.undo = back
	return nil
}

// restore makes the image of rows that were taken back. What they say fitted
// before, so it does again; if it does not, only a full update can follow.
func (l *Layout) restore(ready bool) {
	if ready && !l.writing {
		return
	}
	if !ready || l.rebuild() != nil {
		l.forget()
		l.im = nil
		return
	}
	l.emitHeader()
}

// Undo takes the last update back, for a caller that could not bring it into
// force. Nothing is known of what either side holds then, and the image may need
// more lines than before.
func (l *Layout) Undo() {
	if l.undo == nil {
		return
	}
	l.undo()
	l.undo = nil
}

// Keep says that the last update is in force: it is not taken back any more.
func (l *Layout) Keep() { l.undo = nil }

func (l *Layout) apply(c *changes, u Update) error {
	if err := l.store.take(c, u); err != nil {
		return err
	}
	if err := l.checkSubjects(c); err != nil {
		return err
	}
	touched := l.affected(c)
	if l.im != nil && !c.policy && l.allKnown(touched) {
		return l.applyPlain(c, touched)
	}
	n, err := l.resolve(c, touched)
	if err != nil {
		return err
	}
	return l.applyPolicy(c, n, touched)
}

// checkSubjects refuses local pods of a kind that nothing is said about.
func (l *Layout) checkSubjects(c *changes) error {
	for _, uid := range slices.Sorted(maps.Keys(l.store.locals)) {
		if _, changed := c.uids[uid]; !changed && !c.policy {
			continue
		}
		row := l.store.locals[uid]
		if _, ok := l.store.subjects[row.Kind]; !ok {
			return fmt.Errorf("pod %s/%s: %w: no subject row for its kind %x", row.Namespace, row.Name, ErrIncomplete, row.Kind)
		}
	}
	return nil
}

// comboOf is the combo of an address, by the given cut of the address space.
func (l *Layout) comboOf(n *numbers, a netip.Addr, h holder) combo {
	return combo{h.kind, n.partPrefix(a)}
}

// allKnown reports whether every touched address is of a combo that has a class.
func (l *Layout) allKnown(touched map[netip.Addr]struct{}) bool {
	for a := range touched {
		h, ok := l.store.holder(a)
		if !ok {
			continue
		}
		if _, ok := l.n.combos[l.comboOf(l.n, a, h)]; !ok {
			return false
		}
	}
	return true
}

// resolve gives out numbers for the rows as they are now.
func (l *Layout) resolve(c *changes, touched map[netip.Addr]struct{}) (*numbers, error) {
	n := l.n.clone()
	if c.parts {
		n.cut = newCut(l.store.parts)
	}
	combos := map[combo]struct{}{{snapshot.WorldKind, netip.Prefix{}}: {}}
	for _, p := range n.cut.prefixes {
		combos[combo{snapshot.WorldKind, p}] = struct{}{}
	}
	if !c.parts {
		for a, p := range l.held {
			if _, ok := touched[a]; !ok {
				combos[p.combo] = struct{}{}
			}
		}
	}
	for a := range touched {
		if h, ok := l.store.holder(a); ok {
			combos[l.comboOf(n, a, h)] = struct{}{}
		}
	}
	oldKeys := make([]string, len(n.classes))
	for i := range n.classes {
		oldKeys[i] = n.classes[i].key
		if !n.classes[i].used {
			oldKeys[i] = "unused" // no key of groups has six bytes
		}
	}
	n.classify(l.store, combos)
	if len(n.classes) > maxNumber {
		return nil, fmt.Errorf("peer classes: %w: at most %d", ErrCapacity, maxNumber)
	}
	if err := n.placeRows(l.store); err != nil {
		return nil, err
	}
	if cells := len(n.classes) * len(n.rows); cells/32 > l.options.MaxLines {
		return nil, fmt.Errorf("cells: %w: %d rows of %d classes, at most %d cells", ErrCapacity, len(n.rows), len(n.classes), 32*l.options.MaxLines)
	}
	if err := n.fillRows(l.store, c, oldKeys); err != nil {
		return nil, err
	}
	n.sweepRecords()
	if err := n.placeRules(l.store, c, l.options.MaxRules); err != nil {
		return nil, err
	}
	return n, n.placeRuntime(l.store, c, l.secret)
}

// applyPlain writes what changed where no policy did.
func (l *Layout) applyPlain(c *changes, touched map[netip.Addr]struct{}) error {
	if err := l.checkAddresses(); err != nil {
		return err
	}
	l.writing = true
	if l.placeAll(touched) != nil || l.placePorts() != nil || l.placeRuntime(c) != nil {
		return l.rebuild()
	}
	return nil
}

// applyPolicy makes the resolved numbers the ones in force and writes them.
func (l *Layout) applyPolicy(c *changes, n *numbers, touched map[netip.Addr]struct{}) error {
	if err := l.checkAddresses(); err != nil {
		return err
	}
	old := l.n
	l.n = n
	if err := l.checkSize(l.sizes()); err != nil {
		return err
	}
	l.writing = true
	if l.im == nil || !l.fits() {
		return l.rebuild()
	}
	if l.emitPolicy(c, old) != nil {
		return l.rebuild()
	}
	for a, p := range l.held {
		if old.combos[p.combo] != n.combos[p.combo] || p.slot >= 0 {
			touched[a] = struct{}{}
		}
	}
	if l.placeAll(touched) != nil || l.placePorts() != nil || l.placeRuntime(c) != nil {
		return l.rebuild()
	}
	return nil
}

// checkAddresses refuses more addresses than the tables may grow to.
func (l *Layout) checkAddresses() error {
	limit := l.options.MaxLines
	if have := len(l.store.addresses) + len(l.store.facts); have > limit {
		return fmt.Errorf("addresses: %w: %d, at most %d", ErrCapacity, have, limit)
	}
	return nil
}

// Generation and digest of the last update taken in.
func (l *Layout) Generation() (snapshot.Generation, snapshot.Digest) { return l.generation, l.digest }
