package compile

import (
	"net/netip"
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// runtimeRow says what a rule says in the terms of a snapshot.
func (c *Compiler) runtimeRow(x *runtimeRule) snapshot.RuntimeRuleRow {
	row := snapshot.RuntimeRuleRow{
		ID: x.info.id, Section: uint8(x.section), Action: snapshot.RuntimeDeny,
		Enforced: !x.audit, Staged: true, Isolation: x.isolation,
	}
	r := x.spec
	if r == nil {
		return row
	}
	switch r.Action.Verdict() {
	case model.Allow:
		row.Action = snapshot.RuntimeAccept
	case model.Kill:
		row.Action = snapshot.RuntimeKill
	}
	row.Operations, row.Origins, row.Owner = r.Operations, uint8(r.Origins), uint8(r.Owner)
	row.Capabilities, row.RateLimit = r.Capabilities, r.RateLimit
	row.Paths, row.Directories, row.Arguments = r.Paths, r.Directories, r.Arguments
	row.From, row.FromDescendants = r.From, len(r.From) > 0 && r.FromDescendants
	for _, g := range r.Globs {
		row.Globs = append(row.Globs, snapshot.RuntimeGlob{Prefix: g.Prefix, Suffix: g.Suffix})
	}
	if row.Peers = x.peersID; x.groups == nil {
		row.Blocks = c.runtimeBlocks(r.Peers)
	}
	for _, p := range r.Ports {
		row.Ports = append(row.Ports, snapshot.RuntimePort{Proto: protocolOf(p.Proto), Lo: uint16(p.Lo), Hi: uint16(p.Hi)})
	}
	slices.SortFunc(row.Ports, snapshot.CompareRuntimePorts)
	row.Ports = slices.Compact(row.Ports)
	return row
}

// protocolOf is the number of a protocol in a row, where 0 is any.
func protocolOf(p model.Protocol) uint8 {
	if p == model.ProtoAny {
		return 0
	}
	return uint8(p)
}

// nowhere is the block of a rule whose address groups are all empty: without a
// block it would be about everybody.
var nowhere = snapshot.RuntimeBlock{
	CIDR: netip.MustParsePrefix("::/127"),
	Except: []netip.Prefix{
		netip.MustParsePrefix("::/128"), netip.MustParsePrefix("::1/128"),
	},
}

// runtimeBlocks lists the addresses that peers are, as they are now.
func (c *Compiler) runtimeBlocks(peers []model.Peer) []snapshot.RuntimeBlock {
	var out []snapshot.RuntimeBlock
	for i := range peers {
		switch p := &peers[i]; p.Kind {
		case model.PeerBlock:
			b := snapshot.RuntimeBlock{CIDR: p.Block.CIDR, Except: slices.Clone(p.Block.Except)}
			slices.SortFunc(b.Except, snapshot.ComparePrefixes)
			b.Except = slices.Compact(b.Except)
			out = append(out, b)
		case model.PeerAddressGroup:
			for _, cidr := range c.addressGroups[p.Name] {
				out = append(out, snapshot.RuntimeBlock{CIDR: cidr})
			}
		case model.PeerAny:
			return nil
		}
	}
	if len(peers) > 0 && len(out) == 0 {
		return []snapshot.RuntimeBlock{nowhere}
	}
	slices.SortFunc(out, snapshot.CompareRuntimeBlocks)
	return slices.CompactFunc(out, func(a, b snapshot.RuntimeBlock) bool { return snapshot.CompareRuntimeBlocks(a, b) == 0 })
}
