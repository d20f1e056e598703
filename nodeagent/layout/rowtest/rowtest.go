// Package rowtest builds small snapshots for tests, and answers from them slowly.
package rowtest

import (
	"maps"
	"net/netip"
	"slices"

	"palisade.dev/palisade/snapshot"
)

// Builder collects rows. Names are turned into numbers.
type Builder struct {
	Node     string
	Ranges   []netip.Prefix
	rows     []snapshot.Row
	kinds    map[snapshot.KindID][]snapshot.GroupID
	parts    map[netip.Prefix][]snapshot.GroupID
	rulesets map[snapshot.RulesetID]ruleset
	subjects map[snapshot.KindID]snapshot.SubjectRow
	programs map[snapshot.ProgramID]snapshot.ProgramRow
	locals   map[string]snapshot.KindID
	holders  map[netip.Addr]snapshot.AddressRow
}

type ruleset struct {
	groups []snapshot.GroupID
	decide func(in func(group string) bool) snapshot.ProgramID
}

// New returns a builder for a node with the given pod ranges.
func New(node string, ranges ...string) *Builder {
	b := &Builder{
		Node: node, kinds: map[snapshot.KindID][]snapshot.GroupID{}, parts: map[netip.Prefix][]snapshot.GroupID{},
		rulesets: map[snapshot.RulesetID]ruleset{}, subjects: map[snapshot.KindID]snapshot.SubjectRow{},
		programs: map[snapshot.ProgramID]snapshot.ProgramRow{}, locals: map[string]snapshot.KindID{},
		holders: map[netip.Addr]snapshot.AddressRow{},
	}
	for _, r := range ranges {
		b.Ranges = append(b.Ranges, netip.MustParsePrefix(r))
	}
	slices.SortFunc(b.Ranges, snapshot.ComparePrefixes)
	return b
}

// Rule adds a rule of the policy pnp/test/NAME.
func (b *Builder) Rule(name string) snapshot.RuleID {
	id := snapshot.NewRuleID([]byte(name))
	b.rows = append(b.rows, snapshot.RuleRow{ID: id, Tier: 2, PolicyKind: 2, Namespace: "test", Policy: name, Rule: name})
	return id
}

// Allow is the answer that a rule allows in both worlds.
func (b *Builder) Allow(rule string) snapshot.Answer {
	id := b.Rule(rule)
	return snapshot.Answer{Rule: id, StagedRule: id}
}

// Deny is the answer that a rule denies in both worlds.
func (b *Builder) Deny(rule string) snapshot.Answer {
	id := b.Rule(rule)
	return snapshot.Answer{Rule: id, StagedRule: id, Deny: true, StagedDeny: true}
}

// Program adds a port program.
func (b *Builder) Program(otherwise snapshot.Answer, segments ...snapshot.Segment) snapshot.ProgramID {
	p := snapshot.ProgramRow{Default: otherwise, Segments: segments}
	p.ID = p.ContentID()
	b.programs[p.ID] = p
	b.rows = append(b.rows, p)
	return p.ID
}

func groupIDs(names []string) []snapshot.GroupID {
	var ids []snapshot.GroupID
	for _, n := range names {
		ids = append(ids, snapshot.NewGroupID([]byte(n)))
	}
	slices.SortFunc(ids, snapshot.CompareGroupIDs)
	return slices.Compact(ids)
}

// KindOf numbers a kind by name; "world" is the world's.
func KindOf(name string) snapshot.KindID {
	if name == "world" {
		return snapshot.WorldKind
	}
	return snapshot.NewKindID([]byte(name))
}

// Kind says which groups a kind is in, in place of what was said before.
func (b *Builder) Kind(name string, groups ...string) {
	id := KindOf(name)
	b.kinds[id] = groupIDs(groups)
	b.rows = slices.DeleteFunc(b.rows, func(r snapshot.Row) bool {
		k, ok := r.(snapshot.KindRow)
		return ok && k.ID == id
	})
	if len(groups) > 0 {
		b.rows = append(b.rows, snapshot.KindRow{ID: id, Groups: b.kinds[id]})
	}
}

// Part says which groups a part of the address space is in.
func (b *Builder) Part(prefix string, groups ...string) {
	p := netip.MustParsePrefix(prefix)
	b.parts[p] = groupIDs(groups)
	b.rows = append(b.rows, snapshot.PartRow{Prefix: p, Groups: b.parts[p]})
}

// Ruleset adds a rule set that tells the given groups apart, with a cell for every
// set of them.
func (b *Builder) Ruleset(name string, egress bool, groups []string, decide func(in func(group string) bool) snapshot.ProgramID) snapshot.RulesetID {
	id := snapshot.NewRulesetID([]byte(name))
	b.rulesets[id] = ruleset{groupIDs(groups), decide}
	b.rows = append(b.rows, snapshot.RulesetRow{ID: id, Egress: egress, Groups: groupIDs(groups)})
	for bits := range 1 << len(groups) {
		var chosen []string
		for i, g := range groups {
			if bits>>i&1 == 1 {
				chosen = append(chosen, g)
			}
		}
		b.rows = append(b.rows, snapshot.CellRow{
			Ruleset: id, Set: snapshot.SetOf(groupIDs(chosen)),
			Program: decide(func(g string) bool { return slices.Contains(chosen, g) }),
		})
	}
	return id
}

// Subject says what protects a kind.
func (b *Builder) Subject(kind string, ingress, egress snapshot.RulesetID) {
	row := snapshot.SubjectRow{Kind: KindOf(kind), Ingress: ingress, Egress: egress}
	b.subjects[row.Kind] = row
	b.rows = append(b.rows, row)
}

// Local adds a pod of this node without an address.
func (b *Builder) Local(uid, kind string) {
	b.locals[uid] = KindOf(kind)
	b.rows = append(b.rows, snapshot.LocalRow{UID: uid, Kind: KindOf(kind), Namespace: "test", Name: uid})
}

// Address says who has an address; the row of a pod of this node too.
func (b *Builder) Address(addr, kind, uid string) {
	row := snapshot.AddressRow{Addr: netip.MustParseAddr(addr), Kind: KindOf(kind), UID: uid, Namespace: "test", Name: uid}
	if uid == "" {
		row.Endpoint, row.Name, row.Namespace = 2, "external-"+addr, "test"
	}
	b.holders[row.Addr] = row
	b.rows = append(b.rows, row)
}

// NodeAddress gives an address to the node itself.
func (b *Builder) NodeAddress(addr, kind string) {
	row := snapshot.AddressRow{Addr: netip.MustParseAddr(addr), Kind: KindOf(kind), Endpoint: 1, Name: b.Node}
	b.holders[row.Addr] = row
	b.rows = append(b.rows, row)
}

// Set encodes the rows.
func (b *Builder) Set() *snapshot.Set {
	s := snapshot.NewSet(snapshot.Encode(snapshot.MetaRow{Node: b.Node, PodRanges: b.Ranges}))
	for _, r := range b.rows {
		s.Put(snapshot.Encode(r))
	}
	return s
}

// Split encodes the rows as a node's own set and the common one.
func (b *Builder) Split() (own, common *snapshot.Set) {
	own, common = snapshot.NewSet(), snapshot.NewSet()
	for _, e := range b.Set().Entries() {
		if e.Table == snapshot.TableAddress {
			common.Put(e)
		} else {
			own.Put(e)
		}
	}
	return own, common
}

// Full is the rows as a delta from nothing.
func (b *Builder) Full() snapshot.Delta {
	rows := map[snapshot.EntryKey]snapshot.Entry{}
	for _, r := range append([]snapshot.Row{snapshot.MetaRow{Node: b.Node, PodRanges: b.Ranges}}, b.rows...) {
		e := snapshot.Encode(r)
		rows[e.ID()] = e
	}
	var d snapshot.Delta
	for _, id := range slices.SortedFunc(maps.Keys(rows), snapshot.CompareEntryKeys) {
		d.Upserts = append(d.Upserts, rows[id])
	}
	return d
}

// groupsOf are the groups of whoever has an address.
func (b *Builder) groupsOf(a netip.Addr) []snapshot.GroupID {
	kind := snapshot.WorldKind
	if h, ok := b.holders[a]; ok {
		kind = h.Kind
		if k, ok := b.locals[h.UID]; ok {
			kind = k
		}
	}
	groups := slices.Clone(b.kinds[kind])
	longest := netip.Prefix{}
	for p := range b.parts {
		if p.Contains(a) && (!longest.IsValid() || p.Bits() > longest.Bits()) {
			longest = p
		}
	}
	return append(groups, b.parts[longest]...)
}

// answer is what a rule set says about a peer at a port, found the slow way.
func (b *Builder) answer(id snapshot.RulesetID, peer netip.Addr, proto uint8, port uint16) snapshot.Answer {
	has := b.groupsOf(peer)
	r := b.rulesets[id]
	p := b.programs[r.decide(func(g string) bool {
		gid := snapshot.NewGroupID([]byte(g))
		return slices.Contains(r.groups, gid) && slices.Contains(has, gid)
	})]
	for _, s := range p.Segments {
		if s.Proto == proto && s.Lo <= port && port <= s.Hi {
			return s.Answer
		}
	}
	return p.Default
}

// Verdict is one direction's expected answer: a rule's, or a built-in one's by name.
type Verdict struct {
	Answer  snapshot.Answer
	Builtin string
}

// Judge answers a connection: egress and ingress as this node sees them.
func (b *Builder) Judge(from, to netip.Addr, proto uint8, port uint16) (egress, ingress Verdict) {
	client, isLocal := b.local(from)
	server, isLocalToo := b.local(to)
	if isLocal && isLocalToo && client == server {
		return Verdict{Builtin: "(self)"}, Verdict{Builtin: "(self)"}
	}
	egress, ingress = Verdict{Builtin: "(no-subject)"}, Verdict{Builtin: "(no-subject)"}
	if isLocal {
		egress = Verdict{Answer: b.answer(b.subjects[b.locals[client]].Egress, to, proto, port)}
	}
	switch {
	case isLocalToo:
		ingress = Verdict{Answer: b.answer(b.subjects[b.locals[server]].Ingress, from, proto, port)}
	case isGroup(to) && b.isolates():
		ingress = Verdict{Answer: snapshot.Answer{Deny: true, StagedDeny: true}, Builtin: "(group-address)"}
	}
	return egress, ingress
}

func isGroup(a netip.Addr) bool {
	return a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// isolates reports whether any pod of this node is isolated for ingress: denied to
// peers of which nothing is known.
func (b *Builder) isolates() bool {
	for _, kind := range b.locals {
		r := b.rulesets[b.subjects[kind].Ingress]
		if b.programs[r.decide(func(string) bool { return false })].Default.Deny {
			return true
		}
	}
	return false
}

func (b *Builder) local(a netip.Addr) (uid string, ok bool) {
	uid = b.holders[a].UID
	_, ok = b.locals[uid]
	return uid, ok && uid != ""
}

// Holders lists the addresses that somebody has, in order.
func (b *Builder) Holders() []netip.Addr {
	var out []netip.Addr
	for a := range b.holders {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}
