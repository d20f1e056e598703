package rowtest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"palisade.dev/palisade/snapshot"
)

// The names of the rules that runtime answers without a rule are attributed to.
const (
	RuntimeDefault      = "(default)"
	RuntimeUnresolvable = "(unresolvable)"
)

// Runtime collects rows of runtime rules. Names are turned into numbers.
type Runtime struct {
	rules    map[snapshot.RuleID]snapshot.RuntimeRuleRow
	names    map[snapshot.RuleID]snapshot.RuleRow
	rulesets map[snapshot.RulesetID]snapshot.RuntimeRulesetRow
	subjects map[snapshot.KindID]map[string]snapshot.RulesetID
	locals   map[string]string // kinds of pods by UID
	pods     map[string]string
	peer     func(id snapshot.RulesetID, op Operation) bool
	extra    []snapshot.Row
}

// NewRuntime returns a builder that holds the built-in rules alone.
func NewRuntime() *Runtime {
	b := &Runtime{
		rules: map[snapshot.RuleID]snapshot.RuntimeRuleRow{}, names: map[snapshot.RuleID]snapshot.RuleRow{},
		rulesets: map[snapshot.RulesetID]snapshot.RuntimeRulesetRow{}, subjects: map[snapshot.KindID]map[string]snapshot.RulesetID{},
		locals: map[string]string{}, pods: map[string]string{},
	}
	for _, name := range []string{RuntimeDefault, RuntimeUnresolvable} {
		id := snapshot.NewRuleID([]byte(name))
		b.names[id] = snapshot.RuleRow{ID: id, Policy: "palisade", Rule: name}
	}
	return b
}

// Name adds a name without a rule, so that it has a slot.
func (b *Runtime) Name(name string) snapshot.RuleID {
	id := snapshot.NewRuleID([]byte(name))
	b.names[id] = snapshot.RuleRow{ID: id, Tier: 2, PolicyKind: 4, Namespace: "test", Policy: name, Rule: name}
	return id
}

// Rule adds a rule; the row's number is made of the name.
func (b *Runtime) Rule(name string, row snapshot.RuntimeRuleRow) snapshot.RuleID {
	row.ID = b.Name(name)
	for _, list := range []*[]string{&row.Paths, &row.Directories, &row.From} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	slices.SortFunc(row.Globs, snapshot.CompareRuntimeGlobs)
	row.Globs = slices.Compact(row.Globs)
	slices.SortFunc(row.Blocks, snapshot.CompareRuntimeBlocks)
	slices.SortFunc(row.Ports, snapshot.CompareRuntimePorts)
	b.rules[row.ID] = row
	return row.ID
}

// Ruleset adds a rule set.
func (b *Runtime) Ruleset(name string, rules ...snapshot.RuleID) snapshot.RulesetID {
	id := snapshot.NewRulesetID([]byte(name))
	b.rulesets[id] = snapshot.RuntimeRulesetRow{ID: id, Rules: rules}
	return id
}

// Subject says which rule set a container of pods of a kind has.
func (b *Runtime) Subject(kind, container string, id snapshot.RulesetID) {
	k := KindOf(kind)
	if b.subjects[k] == nil {
		b.subjects[k] = map[string]snapshot.RulesetID{}
	}
	b.subjects[k][container] = id
}

// Local adds a pod of this node; Pod one that only runtime rules know.
func (b *Runtime) Local(uid, kind string) { b.locals[uid] = kind }

// Pod adds a pod that only runtime rules know.
func (b *Runtime) Pod(uid, kind string) { b.pods[uid] = kind }

// Rows are all rows, those that the network needs for a pod included.
func (b *Runtime) Rows() []snapshot.Row {
	out := append([]snapshot.Row{snapshot.MetaRow{Node: "node"}}, b.extra...)
	for _, r := range b.names {
		out = append(out, r)
	}
	for _, r := range b.rules {
		out = append(out, r)
	}
	for _, r := range b.rulesets {
		out = append(out, r)
	}
	for kind, containers := range b.subjects {
		for c, id := range containers {
			out = append(out, snapshot.RuntimeSubjectRow{Kind: kind, Container: c, Ruleset: id})
		}
	}
	for uid, kind := range b.pods {
		out = append(out, snapshot.RuntimePodRow{UID: uid, Kind: KindOf(kind), Name: uid})
	}
	if len(b.locals) == 0 {
		return out
	}
	id := snapshot.NewRuleID([]byte(RuntimeDefault))
	open := snapshot.ProgramRow{Default: snapshot.Answer{Rule: id, StagedRule: id}}
	open.ID = open.ContentID()
	all := snapshot.NewRulesetID([]byte("open"))
	out = append(out, open, snapshot.RulesetRow{ID: all}, snapshot.CellRow{Ruleset: all, Set: snapshot.SetOf(nil), Program: open.ID})
	kinds := map[string]bool{}
	for uid, kind := range b.locals {
		kinds[kind] = true
		out = append(out, snapshot.LocalRow{UID: uid, Kind: KindOf(kind), Namespace: "test", Name: uid})
	}
	for kind := range kinds {
		out = append(out, snapshot.SubjectRow{Kind: KindOf(kind), Ingress: all, Egress: all})
	}
	return out
}

// Set encodes the rows.
func (b *Runtime) Set() *snapshot.Set {
	s := snapshot.NewSet()
	for _, r := range b.Rows() {
		s.Put(snapshot.Encode(r))
	}
	return s
}

// Full is the rows as a delta from nothing.
func (b *Runtime) Full() snapshot.Delta { return snapshot.Diff(snapshot.NewSet(), b.Set()) }

// Operation is something that a process does.
type Operation struct {
	Section      uint8
	Operations   uint32
	Origin       uint8
	Owns         bool
	Mapping      bool
	Directory    bool
	Unresolvable bool
	Capabilities uint64
	Path         string
	Chain        []string // executables: the process's own, then those above it
	Overflow     bool     // and more than a chain holds
	Addr         netip.Addr
	Proto        uint8
	Port         uint16
}

// RuntimeDecision is what a rule, or no rule, says.
type RuntimeDecision struct {
	Rule       string
	Deny, Kill bool
}

// RuntimeVerdict is the decision in both worlds.
type RuntimeVerdict struct {
	Enforced, Staged RuntimeDecision
}

// Pending stands for a container whose name is not known yet.
const Pending = "(pending)"

// Judge answers an operation of a container: known says whether the pod is, and rules
// whether there are any for it.
func (b *Runtime) Judge(uid, container string, op Operation) (v RuntimeVerdict, known, rules bool) {
	kind, known := b.locals[uid]
	if !known {
		kind, known = b.pods[uid]
	}
	subjects := b.subjects[KindOf(kind)]
	var sets []snapshot.RulesetID
	switch id, ok := subjects[container]; {
	case container == Pending:
		for c, id := range subjects {
			if c != snapshot.RuntimePauseContainer && !slices.Contains(sets, id) {
				sets = append(sets, id)
			}
		}
	case ok:
		sets = append(sets, id)
	case container != snapshot.RuntimePauseContainer:
		if id, ok := subjects[""]; ok {
			sets = append(sets, id)
		}
	}
	if !known || len(sets) == 0 {
		d := RuntimeDecision{Rule: RuntimeDefault}
		return RuntimeVerdict{d, d}, known, false
	}
	for i, id := range sets {
		one := RuntimeVerdict{b.decide(id, op, false), b.decide(id, op, true)}
		if i == 0 {
			v = one
			continue
		}
		v.Enforced, v.Staged = stricter(v.Enforced, one.Enforced), stricter(v.Staged, one.Staged)
	}
	return v, true, true
}

func stricter(a, b RuntimeDecision) RuntimeDecision {
	weight := func(d RuntimeDecision) int {
		switch {
		case d.Kill:
			return 2
		case d.Deny:
			return 1
		}
		return 0
	}
	if weight(b) > weight(a) {
		return b
	}
	return a
}

// decide asks the rules one by one.
func (b *Runtime) decide(id snapshot.RulesetID, op Operation, staged bool) RuntimeDecision {
	refused := false
	for _, id := range b.rulesets[id].Rules {
		r := b.rules[id]
		takesPart := r.Section == op.Section && len(r.Arguments) == 0 && (staged && r.Staged || !staged && r.Enforced)
		refused = refused || takesPart && r.Action != snapshot.RuntimeAccept
		switch {
		case !takesPart || op.Unresolvable:
		case b.matches(r, op):
			return RuntimeDecision{
				Rule: b.names[r.ID].Rule, Deny: r.Action != snapshot.RuntimeAccept, Kill: r.Action == snapshot.RuntimeKill,
			}
		}
	}
	if refused && (op.Unresolvable || op.outside()) {
		return RuntimeDecision{Rule: RuntimeUnresolvable, Deny: true}
	}
	return RuntimeDecision{Rule: RuntimeDefault}
}

// outside: what has no path in the container.
func (op Operation) outside() bool {
	return op.Origin == snapshot.OriginOutside && op.Section <= snapshot.SectionFiles
}

func (b *Runtime) matches(r snapshot.RuntimeRuleRow, op Operation) bool {
	if r.Isolation {
		return !op.Mapping || op.Origin != snapshot.OriginImage
	}
	if !acts(r, op) {
		return false
	}
	if r.Section == snapshot.SectionNetwork {
		return asks(r, op) && b.reaches(r, op)
	}
	if moves(r, op) {
		return true
	}
	owner := r.Owner == snapshot.OwnerAny || (r.Owner == snapshot.OwnerOnly) == op.Owns
	origin := r.Origins&op.Origin != 0
	if r.Origins == 0 {
		origin = !op.outside() || r.Action != snapshot.RuntimeAccept
	}
	return asks(r, op) && owner && origin && about(r, op.Path)
}

func asks(r snapshot.RuntimeRuleRow, op Operation) bool {
	bits := op.Operations
	if r.Operations != 0 {
		bits &= r.Operations
	}
	if r.Capabilities != 0 && r.Capabilities&op.Capabilities == 0 {
		bits &^= 1
	}
	return bits != 0 || op.Operations == 0
}

func acts(r snapshot.RuntimeRuleRow, op Operation) bool {
	switch {
	case len(r.From) == 0:
		return true
	case op.Overflow:
		return r.Action != snapshot.RuntimeAccept
	}
	for i, path := range op.Chain {
		if slices.Contains(r.From, path) && (i == 0 || r.FromDescendants) {
			return true
		}
	}
	return false
}

func about(r snapshot.RuntimeRuleRow, path string) bool {
	if len(r.Paths)+len(r.Directories)+len(r.Globs) == 0 || slices.Contains(r.Paths, path) {
		return true
	}
	for _, d := range r.Directories {
		if path == d || strings.HasPrefix(path, strings.TrimSuffix(d, "/")+"/") {
			return true
		}
	}
	for _, g := range r.Globs {
		if rest, ok := strings.CutPrefix(path, g.Prefix); ok && strings.HasSuffix(rest, g.Suffix) {
			return true
		}
	}
	return false
}

// moves reports whether a directory is renamed that holds what the rule refuses.
func moves(r snapshot.RuntimeRuleRow, op Operation) bool {
	if r.Section != snapshot.SectionFiles || r.Action == snapshot.RuntimeAccept || !op.Directory || op.Operations&16 == 0 {
		return false
	}
	below := func(text string) bool {
		return len(text) > 1 && strings.HasPrefix(text, strings.TrimSuffix(op.Path, "/")+"/")
	}
	return slices.ContainsFunc(r.Paths, below) || slices.ContainsFunc(r.Directories, below) || slices.Contains(r.Directories, op.Path) ||
		slices.ContainsFunc(r.Globs, func(g snapshot.RuntimeGlob) bool { return below(g.Prefix) })
}

func (b *Runtime) reaches(r snapshot.RuntimeRuleRow, op Operation) bool {
	inBlock := func(x snapshot.RuntimeBlock) bool {
		return x.CIDR.Contains(op.Addr) && !slices.ContainsFunc(x.Except, func(e netip.Prefix) bool { return e.Contains(op.Addr) })
	}
	inPorts := func(x snapshot.RuntimePort) bool {
		ports := op.Proto == 6 || op.Proto == 17 || op.Proto == 132
		return (x.Proto == 0 || x.Proto == op.Proto) && (!ports || x.Lo <= op.Port && op.Port <= x.Hi)
	}
	return (len(r.Blocks) == 0 || slices.ContainsFunc(r.Blocks, inBlock)) &&
		(len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, inPorts)) &&
		(r.Peers == snapshot.RulesetID{} || b.peer(r.Peers, op))
}

// Network adds the rows of a network snapshot, whose egress rule sets tell who is a
// rule's peer: who is denied.
func (b *Runtime) Network(n *Builder) {
	b.extra = append(b.extra, n.rows...)
	b.peer = func(id snapshot.RulesetID, op Operation) bool {
		return n.answer(id, op.Addr, op.Proto, op.Port).Deny
	}
}

// Pods lists the UIDs of all pods, in order.
func (b *Runtime) Pods() []string {
	return slices.Sorted(maps.Keys(func() map[string]string {
		all := maps.Clone(b.locals)
		maps.Copy(all, b.pods)
		return all
	}()))
}

// uid makes a UID of a number.
func uid(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i*7) }

// comparePaths orders short texts first, so that a failure is easy to read.
func comparePaths(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }
