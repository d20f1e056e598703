package analysis

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// Tables judges by the compiled rows of all nodes.
type Tables struct {
	addresses addresses
	nodes     map[model.NodeName]*node
	hosts     map[model.UID]*node // who hosts a pod
}

// FromTables decodes the own rows of nodes and the rows common to all. The node
// without a name stands for the agents that external workloads do not have yet.
func FromTables(nodes map[model.NodeName]*snapshot.Set, common *snapshot.Set) (*Tables, error) {
	t := &Tables{nodes: map[model.NodeName]*node{}, hosts: map[model.UID]*node{}}
	var err error
	if t.addresses, err = decodeCommon(common); err != nil {
		return nil, err
	}
	names := make([]model.NodeName, 0, len(nodes))
	for name := range nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		n, err := decodeNode(name, nodes[name])
		if err != nil {
			return nil, err
		}
		t.nodes[name] = n
		for uid := range n.locals {
			if other := t.hosts[uid]; other != nil {
				return nil, fmt.Errorf("pod %s is local to node %q and to node %q", uid, other.name, name)
			}
			t.hosts[uid] = n
		}
	}
	return t, nil
}

// Judge answers a connection: egress by the client's node, ingress by the
// server's.
func (t *Tables) Judge(c model.Connection) (model.Outcome, error) {
	egress, err := t.judge(model.Egress, c.From, c.To, c)
	if err != nil {
		return model.Outcome{}, err
	}
	ingress, err := t.judge(model.Ingress, c.To, c.From, c)
	return model.Outcome{Egress: egress, Ingress: ingress}, err
}

// judge answers for one direction. It asks in the order in which the kernel
// does: who has the addresses, what is implicit, then the subject's ruleset.
func (t *Tables) judge(direction model.Direction, subject, peer netip.Addr, c model.Connection) (model.Judgement, error) {
	own, ownKnown := t.addresses[subject]
	other, otherKnown := t.addresses[peer]
	if !otherKnown {
		other = snapshot.AddressRow{Addr: peer, Kind: snapshot.WorldKind}
	}
	if !ownKnown || model.EndpointKind(own.Endpoint) == model.EndpointNode {
		return implicit(model.RuleNobody), nil
	}
	if otherKnown && sameEndpoint(own, other) {
		return implicit(model.RuleSelf), nil
	}
	host := t.host(own)
	if direction == model.Ingress && otherKnown && isPod(own) && host != nil && isNode(other, host.name) {
		return implicit(model.RuleOwnNode), nil
	}
	if host == nil {
		return model.Judgement{}, fmt.Errorf("%s (%s): no node's rows say that it hosts it", endpointID(own), subject)
	}
	j, err := host.judge(direction, own.Kind, other, c)
	if err != nil {
		return model.Judgement{}, fmt.Errorf("rows of node %q: %s of %s: %w", host.name, direction, endpointID(own), err)
	}
	return j, nil
}

// host is the node whose rows protect an endpoint.
func (t *Tables) host(a snapshot.AddressRow) *node {
	if isPod(a) {
		return t.hosts[model.UID(a.UID)]
	}
	return t.nodes[""]
}

// judge finds the answer: subject kind to ruleset, peer to its set of groups,
// both to a program, protocol and port to a segment of that.
func (n *node) judge(direction model.Direction, subject snapshot.KindID, peer snapshot.AddressRow, c model.Connection) (model.Judgement, error) {
	row, ok := n.subjects[subject]
	if !ok {
		return model.Judgement{}, fmt.Errorf("no subject row for kind %x", subject)
	}
	id := row.Ingress
	if direction == model.Egress {
		id = row.Egress
	}
	program, err := n.program(id, direction, peer)
	if err != nil {
		return model.Judgement{}, err
	}
	return n.judgement(answer(program, c))
}

// program is what a ruleset has for a peer.
func (n *node) program(id snapshot.RulesetID, direction model.Direction, peer snapshot.AddressRow) (snapshot.ProgramRow, error) {
	var none snapshot.ProgramRow
	ruleset, ok := n.rulesets[id]
	if !ok {
		return none, fmt.Errorf("no ruleset row %x", id)
	}
	if ruleset.Egress != (direction == model.Egress) {
		return none, fmt.Errorf("ruleset %x is for the other direction", id)
	}
	set := snapshot.SetOf(n.groups(ruleset, peer))
	programID, ok := n.cells[cellKey{id, set}]
	if !ok {
		return none, fmt.Errorf("ruleset %x has no cell for the groups of %s", id, peer.Addr)
	}
	program, ok := n.programs[programID]
	if !ok {
		return none, fmt.Errorf("no program row %x", programID)
	}
	return program, nil
}

// groups lists the groups of a peer, by kind and by address, that a ruleset
// tells apart; sorted.
func (n *node) groups(ruleset snapshot.RulesetRow, peer snapshot.AddressRow) []snapshot.GroupID {
	member := map[snapshot.GroupID]bool{}
	for _, g := range n.kinds[peer.Kind] {
		member[g] = true
	}
	for _, g := range n.part(peer.Addr) {
		member[g] = true
	}
	var out []snapshot.GroupID
	for _, g := range ruleset.Groups { // sorted, and so is what is taken from it
		if member[g] {
			out = append(out, g)
		}
	}
	return out
}

// part is the longest matching prefix's groups.
func (n *node) part(addr netip.Addr) []snapshot.GroupID {
	for bits := addr.BitLen(); bits >= 0; bits-- {
		prefix, err := addr.Prefix(bits)
		if err != nil {
			return nil
		}
		if groups, ok := n.parts[prefix]; ok {
			return groups
		}
	}
	return nil
}

// answer is what a program says of a protocol and port.
func answer(p snapshot.ProgramRow, c model.Connection) snapshot.Answer {
	i := sort.Search(len(p.Segments), func(i int) bool {
		s := p.Segments[i]
		return model.Protocol(s.Proto) > c.Proto ||
			model.Protocol(s.Proto) == c.Proto && model.Port(s.Hi) >= c.Port
	})
	if i < len(p.Segments) {
		s := p.Segments[i]
		if model.Protocol(s.Proto) == c.Proto && model.Port(s.Lo) <= c.Port {
			return s.Answer
		}
	}
	return p.Default
}

func (n *node) judgement(a snapshot.Answer) (model.Judgement, error) {
	enforced, ok := n.rules[a.Rule]
	if !ok {
		return model.Judgement{}, fmt.Errorf("no rule row %x", a.Rule)
	}
	staged, ok := n.rules[a.StagedRule]
	if !ok {
		return model.Judgement{}, fmt.Errorf("no rule row %x", a.StagedRule)
	}
	return model.Judgement{
		Enforced: decision(enforced, a.Deny, a.Log),
		Staged:   decision(staged, a.StagedDeny, a.StagedLog),
	}, nil
}

func decision(by model.RuleRef, deny, log bool) model.Decision {
	d := model.Decision{Verdict: model.Allow, By: by, Log: log}
	if deny {
		d.Verdict = model.Deny
	}
	return d
}

func implicit(rule string) model.Judgement {
	d := decision(model.Builtin(rule), false, false)
	return model.Judgement{Enforced: d, Staged: d}
}

func endpointID(a snapshot.AddressRow) model.EndpointID {
	return model.EndpointID{Kind: model.EndpointKind(a.Endpoint), Namespace: a.Namespace, Name: a.Name}
}

func sameEndpoint(a, b snapshot.AddressRow) bool { return endpointID(a) == endpointID(b) }

func isPod(a snapshot.AddressRow) bool { return model.EndpointKind(a.Endpoint) == model.EndpointPod }

func isNode(a snapshot.AddressRow, name model.NodeName) bool {
	return endpointID(a) == model.EndpointID{Kind: model.EndpointNode, Name: string(name)}
}
