package layout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unsafe"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// object is what the rules of a rule set say about one text.
type object struct {
	key     bpf.Key6
	clauses []bpf.RuntimeClause
	simple  uint32 // the row's value, if it needs no clauses
}

// peerClause is a rule about peers, with its lists.
type peerClause struct {
	clause bpf.RuntimePeerClause
	blocks []bpf.RuntimeBlock
	ports  []bpf.RuntimePort
}

// entry is a row that is no object's.
type entry struct {
	key   bpf.Key6
	value uint32
}

// compiled is a rule set as its lines say it, but for where on the heap they are. It
// is never changed.
type compiled struct {
	number  uint32
	head    bpf.RuntimeRuleset
	lengths [4][]uint16 // prefixes and suffixes of executables, then of files
	any     [4][]bpf.RuntimeClause
	objects []object // sorted by key
	slots   []uint32 // of the rules, in their order; none if no row is simple
	from    []entry
	peers   []peerClause
	heap    int // lines
}

// rows counts the rows that the rule set needs.
func (r *compiled) rows() int { return len(r.objects) + len(r.from) }

// compiler makes a compiled rule set.
type compiler struct {
	out     *compiled
	n       *numbers
	secret  *secret
	objects map[bpf.Key6][]bpf.RuntimeClause
	from    map[fromOf]int // bit
	slots   []uint32       // of the rules so far
	crowd   map[half]int   // how many globs of a section begin or end with a text
	err     error
}

// half is one end of a glob.
type half struct {
	section uint8
	kind    bpf.RuntimeKey
	text    string
}

// fromOf is one executable that a rule asks for, by itself or above a process too.
type fromOf struct {
	path  string
	above bool
}

// compileRuntime makes the lines of a rule set.
func (n *numbers) compileRuntime(s *store, sec *secret, id snapshot.RulesetID, number uint32) (*compiled, error) {
	c := &compiler{
		out: &compiled{number: number}, n: n, secret: sec,
		objects: map[bpf.Key6][]bpf.RuntimeClause{}, from: map[fromOf]int{}, crowd: map[half]int{},
	}
	for _, ruleID := range s.runtime.rulesets[id].Rules {
		row := s.runtime.rules[ruleID]
		for _, g := range row.Globs {
			c.crowd[half{row.Section, bpf.RuntimeKeyPrefix, g.Prefix}]++
			c.crowd[half{row.Section, bpf.RuntimeKeySuffix, g.Suffix}]++
		}
	}
	for i, ruleID := range s.runtime.rulesets[id].Rules {
		row, ok := s.runtime.rules[ruleID]
		if !ok {
			return nil, fmt.Errorf("runtime ruleset %x: %w: rule %x", id, ErrIncomplete, ruleID)
		}
		slot, ok := n.rules.byID[ruleID]
		if !ok {
			return nil, fmt.Errorf("runtime ruleset %x: %w: name of rule %x", id, ErrIncomplete, ruleID)
		}
		c.rule(uint64(i)+1, slot, row)
	}
	if err := c.finish(); err != nil {
		return nil, fmt.Errorf("runtime ruleset %x: %w", id, err)
	}
	return c.out, nil
}

// rule adds one rule. Its rank orders it among all of the rule set.
func (c *compiler) rule(rank uint64, slot bpf.RuleSlot, r snapshot.RuntimeRuleRow) {
	c.slots = append(c.slots, uint32(slot))
	head := &c.out.head
	if len(r.Arguments) > 0 {
		// The kernel does not compare command lines: the agent judges these by itself,
		// by what is told of the section.
		head.Needs |= bpf.RuntimeNeedsArguments | 1<<r.Section
		return
	}
	clause := c.clause(rank, slot, r)
	head.Needs |= 1 << r.Section
	c.flag(r)
	if r.Section == snapshot.SectionNetwork {
		c.peers(clause, r)
		return
	}
	if len(r.Paths)+len(r.Directories)+len(r.Globs) == 0 {
		c.out.any[r.Section] = append(c.out.any[r.Section], clause)
		return
	}
	for _, p := range r.Paths {
		if c.add(bpf.RuntimeKeyExact, r.Section, p, clause) {
			head.Flags |= bpf.RuntimeHasExact << r.Section
		}
	}
	for _, d := range r.Directories {
		text := strings.TrimSuffix(d, "/")
		if c.add(bpf.RuntimeKeyDirectory, r.Section, text, clause) {
			head.Depths[r.Section] |= 1 << min(strings.Count(text, "/"), 63)
		}
	}
	for _, g := range r.Globs {
		c.glob(r.Section, g, clause)
	}
	if r.Action != snapshot.RuntimeAccept && r.Section == snapshot.SectionFiles {
		c.ancestors(r, clause)
	}
}

// clause is what a rule asks for, whatever it is about.
func (c *compiler) clause(rank uint64, slot bpf.RuleSlot, r snapshot.RuntimeRuleRow) bpf.RuntimeClause {
	out := bpf.RuntimeClause{
		Enforced: bpf.RuntimeNothing, Staged: bpf.RuntimeNothing, From: c.mask(r),
		Capabilities: r.Capabilities, Operations: r.Operations, Origins: r.Origins, Owner: r.Owner,
	}
	if out.Operations == 0 {
		out.Operations = ^uint32(0)
	}
	if out.Origins == 0 {
		out.Origins = bpf.RuntimeAny
	}
	var flags uint64
	switch r.Action {
	case snapshot.RuntimeDeny:
		flags = bpf.RuntimeDeny
	case snapshot.RuntimeKill:
		flags = bpf.RuntimeDeny | bpf.RuntimeKill
	}
	if flags != 0 {
		out.Flags |= bpf.RuntimeClauseDenies
	}
	if r.Isolation {
		out.Flags |= bpf.RuntimeClauseIsolation
	}
	word := bpf.RuntimeWord(rank, flags, slot)
	if r.Enforced {
		out.Enforced = word
	}
	if r.Staged {
		out.Staged = word
	}
	return out
}

// flag notes what a hook must find out for this rule.
func (c *compiler) flag(r snapshot.RuntimeRuleRow) {
	head := &c.out.head
	if len(r.From) > 0 {
		head.Needs |= bpf.RuntimeNeedsFrom
	}
	if r.Origins != 0 || r.Isolation && r.Section == snapshot.SectionExecutables {
		head.Needs |= bpf.RuntimeNeedsOrigin
	}
	if r.Owner != 0 {
		head.Needs |= bpf.RuntimeNeedsOwner
	}
	if r.Action != snapshot.RuntimeAccept {
		if r.Enforced {
			head.Flags |= bpf.RuntimeDenies << r.Section
		}
		if r.Staged {
			head.Flags |= bpf.RuntimeDeniesStaged << r.Section
		}
	}
}

// mask has the bits of the executables that a rule asks for.
func (c *compiler) mask(r snapshot.RuntimeRuleRow) uint64 {
	var mask uint64
	for _, path := range r.From {
		f := fromOf{path, r.FromDescendants}
		bit, ok := c.from[f]
		if !ok {
			bit = len(c.from)
			c.from[f] = bit
		}
		if bit >= snapshot.MaxRuntimeFrom {
			c.fail(fmt.Errorf("executables in from: %w: at most %d", ErrCapacity, snapshot.MaxRuntimeFrom))
			return mask
		}
		mask |= 1 << bit
	}
	return mask
}

func (c *compiler) fail(err error) { c.err = cmp.Or(c.err, err) }

// add adds a clause to a text's. What is longer than any path matches nothing.
func (c *compiler) add(kind bpf.RuntimeKey, section uint8, text string, clause bpf.RuntimeClause) bool {
	if len(text) >= bpf.RuntimePathBytes {
		return false
	}
	key := c.secret.text(kind, c.out.number, section, text)
	have := c.objects[key]
	if slices.ContainsFunc(have, func(x bpf.RuntimeClause) bool { return hides(x, clause) }) {
		return true
	}
	c.objects[key] = append(have, clause)
	return true
}

// hides reports whether a clause decides whatever a later one could.
func hides(first, later bpf.RuntimeClause) bool {
	if later.Enforced != bpf.RuntimeNothing && first.Enforced > later.Enforced ||
		later.Staged != bpf.RuntimeNothing && first.Staged > later.Staged {
		return false
	}
	// What is outside of the container is accepted by rules that name it alone.
	asks := first.Origins&bpf.RuntimeAny == 0 || first.Flags&bpf.RuntimeClauseDenies != 0
	first.Enforced, first.Staged = later.Enforced, later.Staged
	if first.From == 0 && asks && later.Flags&bpf.RuntimeClauseIsolation == 0 {
		later.From = 0
		later.Flags = later.Flags&^bpf.RuntimeClauseDenies | first.Flags&bpf.RuntimeClauseDenies
	}
	return first == later
}

// glob adds a clause to one half of a glob: the one that fewer globs share, else the
// longer one. The other half is the clause's condition.
func (c *compiler) glob(section uint8, g snapshot.RuntimeGlob, clause bpf.RuntimeClause) {
	length := len(g.Prefix) + len(g.Suffix)
	if length >= bpf.RuntimePathBytes {
		return
	}
	prefix, suffix := half{section, bpf.RuntimeKeyPrefix, g.Prefix}, half{section, bpf.RuntimeKeySuffix, g.Suffix}
	by, other := prefix, suffix
	list, flag, asks := &c.out.lengths[2*section], bpf.RuntimeHasPrefixes, bpf.RuntimeClauseSuffix
	if d := cmp.Compare(c.crowd[suffix], c.crowd[prefix]); g.Suffix != "" && (d < 0 || d == 0 && len(g.Suffix) > len(g.Prefix)) {
		by, other = suffix, prefix
		list, flag, asks = &c.out.lengths[2*section+1], bpf.RuntimeHasSuffixes, bpf.RuntimeClausePrefix
	}
	if other.text != "" {
		clause.Flags |= asks
		clause.HalfLength, clause.GlobLength = uint16(len(other.text)), uint16(length)
		clause.Half = c.secret.text(other.kind, c.out.number, section, other.text)
	}
	c.add(by.kind, section, by.text, clause)
	c.out.head.Flags |= flag << section
	if i, found := slices.BinarySearch(*list, uint16(len(by.text))); !found {
		*list = slices.Insert(*list, i, uint16(len(by.text)))
	}
}

// ancestors denies that the directories that hold what a rule denies move away
// with it: those above, and the rule's own.
func (c *compiler) ancestors(r snapshot.RuntimeRuleRow, clause bpf.RuntimeClause) {
	c.out.head.Needs |= bpf.RuntimeNeedsMoves
	clause.Operations = operationRename
	clause.Origins, clause.Owner, clause.Capabilities = bpf.RuntimeAny, 0, 0
	above := map[string]struct{}{}
	climb := func(text string) {
		for i := strings.LastIndexByte(text, '/'); i >= 0; i = strings.LastIndexByte(text, '/') {
			text = text[:i]
			above[cmp.Or(text, "/")] = struct{}{}
		}
	}
	for _, p := range slices.Concat(r.Paths, r.Directories) {
		if p != "/" {
			climb(p)
		}
	}
	for _, g := range r.Globs {
		if g.Prefix != "/" {
			climb(g.Prefix)
		}
	}
	for _, dir := range r.Directories {
		above[dir] = struct{}{} // it takes along what is in it as much as one above
	}
	for dir := range above {
		c.add(bpf.RuntimeKeyAncestor, snapshot.SectionFiles, dir, clause)
	}
}

// operationRename is the bit of section files.
const operationRename = 16

// simpleRow is the value of a row that is one rule without conditions but operations,
// or 0: most are, and save a line each.
func simpleRow(clauses []bpf.RuntimeClause) uint32 {
	if len(clauses) != 1 {
		return 0
	}
	c := clauses[0]
	word := min(c.Enforced, c.Staged)
	rank, flags, _ := bpf.RuntimeWordParts(word)
	plain := bpf.RuntimeClause{
		Enforced: c.Enforced, Staged: c.Staged, Operations: c.Operations, Origins: bpf.RuntimeAny,
		Flags: c.Flags & bpf.RuntimeClauseDenies,
	}
	operations := c.Operations
	if operations == ^uint32(0) {
		operations = 0xff
	}
	if c != plain || operations > 0xff || rank < 1 || rank > snapshot.MaxRuntimeRulesPerRuleset {
		return 0
	}
	value := bpf.RuntimeRowSimple | uint32(rank-1)<<bpf.RuntimeSimpleRank | uint32(flags)<<bpf.RuntimeSimpleAction | operations
	if c.Enforced == word {
		value |= bpf.RuntimeSimpleEnforced
	}
	if c.Staged == word {
		value |= bpf.RuntimeSimpleStaged
	}
	return value
}

// peers adds a rule of the section network.
func (c *compiler) peers(clause bpf.RuntimeClause, r snapshot.RuntimeRuleRow) {
	p := peerClause{clause: bpf.RuntimePeerClause{
		Enforced: clause.Enforced, Staged: clause.Staged, From: clause.From,
		Operations: clause.Operations, Origins: clause.Origins, Flags: clause.Flags,
	}}
	if r.Peers != (snapshot.RulesetID{}) {
		p.clause.Peers = c.n.rowIDs[r.Peers] + 1
	}
	for _, b := range r.Blocks {
		p.blocks = append(p.blocks, blockOf(b.CIDR, 0))
		for _, e := range b.Except {
			p.blocks = append(p.blocks, blockOf(e, 1))
		}
	}
	for _, x := range r.Ports {
		p.ports = append(p.ports, bpf.RuntimePort{Low: x.Lo, High: x.Hi, Protocol: uint32(x.Proto)})
	}
	p.clause.BlockCount, p.clause.PortCount = uint32(len(p.blocks)), uint32(len(p.ports))
	c.out.peers = append(c.out.peers, p)
}

// finish sorts what was found and counts the lines.
func (c *compiler) finish() error {
	out := c.out
	simple := false
	for key, clauses := range c.objects {
		o := object{key, clauses, simpleRow(clauses)}
		simple = simple || o.simple != 0
		out.objects = append(out.objects, o)
	}
	if simple {
		out.slots = c.slots
		out.heap += int(linesFor(len(c.slots), 16))
	}
	slices.SortFunc(out.objects, func(a, b object) int { return compareKeys(a.key, b.key) })
	values := map[string]uint32{}
	for f, bit := range c.from {
		if f.above {
			values[f.path] |= bpf.RuntimeFromAbove | uint32(bit)<<16
		} else {
			values[f.path] |= bpf.RuntimeFromSelf | uint32(bit)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(values)) {
		out.from = append(out.from, entry{c.secret.from(out.number, path), values[path]})
	}
	for _, clauses := range out.any {
		out.heap += len(clauses)
	}
	for _, list := range out.lengths {
		if len(list) > snapshot.MaxRuntimeGlobLengths {
			c.fail(fmt.Errorf("lengths of globs: %w: %d, at most %d", ErrCapacity, len(list), snapshot.MaxRuntimeGlobLengths))
		}
	}
	if len(out.peers) > snapshot.MaxRuntimeNetworkRules {
		c.fail(fmt.Errorf("rules of the section network: %w: %d, at most %d", ErrCapacity, len(out.peers), snapshot.MaxRuntimeNetworkRules))
	}
	for _, p := range out.peers {
		out.heap += 1 + int(linesFor(len(p.blocks), 2)+linesFor(len(p.ports), 8))
	}
	seen := map[string]struct{}{}
	for _, o := range out.objects {
		if o.simple != 0 {
			continue
		}
		content := clauseBytes(o.clauses)
		if _, ok := seen[content]; !ok {
			seen[content] = struct{}{}
			out.heap += len(o.clauses)
		}
	}
	out.head.NetworkCount = uint32(len(out.peers))
	return c.err
}

func compareKeys(a, b bpf.Key6) int {
	return cmp.Or(cmp.Compare(a.High, b.High), cmp.Compare(a.Low, b.Low))
}

// clauseBytes is the content of clauses, by which equal ones share their lines.
func clauseBytes(clauses []bpf.RuntimeClause) string {
	if len(clauses) == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(clauses))), len(clauses)*bpf.LineSize))
}
