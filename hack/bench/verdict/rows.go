package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/snapshot"
)

// scatter is trial.c's function of that name: one to one, so that every number
// makes an address of its own.
func scatter(x uint32) uint32 {
	x *= 0x9e3779b1
	x ^= x >> 15
	x *= 0x85ebca6b
	x ^= x >> 13
	return x
}

func address4(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], scatter(uint32(i)))
	return netip.AddrFrom4(b)
}

func address6(i int) netip.Addr {
	var b [16]byte
	b[0] = 0xfd
	binary.BigEndian.PutUint32(b[12:], scatter(uint32(i)))
	return netip.AddrFrom16(b)
}

// The number of rules and port programs: as many as a busy node has.
const (
	rules    = 1024
	programs = 1024
)

// rows builds a node with a matrix of side rows and side classes, and a cluster
// with the given number of addresses of each family, some of them of local pods.
func rows(side, addresses, locals int) snapshot.Delta {
	r := rand.New(rand.NewPCG(1, 2))
	var d snapshot.Delta
	add := func(row snapshot.Row) { d.Upserts = append(d.Upserts, snapshot.Encode(row)) }
	add(snapshot.MetaRow{Node: "node"})

	var ruleIDs []snapshot.RuleID
	for i := range rules {
		id := snapshot.NewRuleID(fmt.Appendf(nil, "rule-%d", i))
		ruleIDs = append(ruleIDs, id)
		add(snapshot.RuleRow{ID: id, Tier: 2, PolicyKind: 2, Namespace: "bench", Policy: fmt.Sprint(i / 8), Rule: fmt.Sprint(i)})
	}
	answer := func(deny bool) snapshot.Answer {
		id := ruleIDs[r.IntN(rules)]
		return snapshot.Answer{Rule: id, StagedRule: id, Deny: deny, StagedDeny: deny}
	}
	var programIDs []snapshot.ProgramID
	for range programs {
		p := snapshot.ProgramRow{Default: answer(true), Segments: []snapshot.Segment{
			{Proto: 6, Lo: 443, Hi: 443, Answer: answer(false)},
			{Proto: 6, Lo: 8080, Hi: 8090, Answer: answer(false)},
		}}
		p.ID = p.ContentID()
		programIDs = append(programIDs, p.ID)
		add(p)
	}
	var groups []snapshot.GroupID
	kind := func(i int) snapshot.KindID { return snapshot.NewKindID(fmt.Appendf(nil, "kind-%d", i)) }
	// One class is the world's.
	for i := range side - 1 {
		g := snapshot.NewGroupID(fmt.Appendf(nil, "group-%d", i))
		groups = append(groups, g)
		add(snapshot.KindRow{ID: kind(i), Groups: []snapshot.GroupID{g}})
	}
	sorted := sortGroups(groups)
	var rulesets []snapshot.RulesetID
	for i := range side {
		id := snapshot.NewRulesetID(fmt.Appendf(nil, "ruleset-%d", i))
		rulesets = append(rulesets, id)
		add(snapshot.RulesetRow{ID: id, Egress: i%2 == 1, Groups: sorted})
		add(snapshot.CellRow{Ruleset: id, Set: snapshot.SetOf(nil), Program: programIDs[r.IntN(programs)]})
		for _, g := range groups {
			add(snapshot.CellRow{Ruleset: id, Set: snapshot.SetOf([]snapshot.GroupID{g}), Program: programIDs[r.IntN(programs)]})
		}
	}
	for i := range max(side/2, 1) {
		add(snapshot.SubjectRow{Kind: kind(i), Ingress: rulesets[2*i%side], Egress: rulesets[(2*i+1)%side]})
	}
	for i := range addresses {
		uid, k := fmt.Sprintf("uid-%d", i), kind(r.IntN(side-1))
		if i < locals {
			k = kind(i % max(side/2, 1))
			add(snapshot.LocalRow{UID: uid, Kind: k, Namespace: "bench", Name: uid})
		}
		add(snapshot.AddressRow{Addr: address4(i), Kind: k, UID: uid, Namespace: "bench", Name: uid})
		add(snapshot.AddressRow{Addr: address6(i), Kind: k, UID: uid, Namespace: "bench", Name: uid})
	}
	return d
}

func fillBaseline(m *ebpf.Map, entries int) error {
	keys, values := make([]uint64, entries), make([]uint64, entries)
	for i := range keys {
		keys[i], values[i] = uint64(scatter(uint32(i))), uint64(i)
	}
	_, err := m.BatchUpdate(keys, values, nil)
	return err
}

func sortGroups(groups []snapshot.GroupID) []snapshot.GroupID {
	out := slices.Clone(groups)
	slices.SortFunc(out, snapshot.CompareGroupIDs)
	return out
}
