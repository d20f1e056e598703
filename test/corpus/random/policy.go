package random

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"pgregory.net/rapid"

	"palisade.dev/palisade/policy/model"
)

func policy(t *rapid.T, i int) model.Policy {
	p := model.Policy{
		Mode:    model.Mode(rapid.IntRange(0, 3).Draw(t, "audit") / 3),
		Expired: rapid.IntRange(0, 9).Draw(t, "expired") == 0,
	}
	// Names run against the order of creation, so that neither passes for the other.
	name := fmt.Sprintf("q%02d", 20-i)
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0, 1:
		p.Ref = model.PolicyRef{Kind: model.KindClusterwide, Name: name}
		p.Tier = one(t, "tier", []model.Tier{model.TierAdmin, model.TierAdmin, model.TierBaseline})
		p.Priority = int32(rapid.IntRange(0, 2).Draw(t, "priority"))
		var in model.NamespaceMatch
		if rapid.Bool().Draw(t, "subject by namespace") {
			in.Labels = selector(t)
		}
		p.Subject = subject(t, in)
		p.Ingress = rules(t, "in", true)
		p.Egress = rules(t, "out", true)
		return p
	case 2:
		p.Ref = model.PolicyRef{Kind: model.KindUpstream, Namespace: one(t, "namespace", namespaces), Name: name}
		p.Mode, p.Expired = model.Enforce, false
	default:
		p.Ref = model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: one(t, "namespace", namespaces), Name: name}
	}
	p.Tier = model.TierNamespace
	p.Subject = subject(t, model.NamespaceMatch{Name: p.Ref.Namespace})
	p.IsolateIngress = rapid.Bool().Draw(t, "isolates ingress")
	p.IsolateEgress = rapid.Bool().Draw(t, "isolates egress")
	p.Ingress = rules(t, "in", false)
	p.Egress = rules(t, "out", false)
	return p
}

func subject(t *rapid.T, in model.NamespaceMatch) model.Subject {
	kind := one(t, "subject", []model.EndpointKind{model.EndpointPod, model.EndpointPod, model.EndpointPod, model.EndpointExternal})
	s := model.Subject{Kind: kind, Namespaces: in}
	if rapid.Bool().Draw(t, "subject by labels") {
		s.Labels = selector(t)
	}
	return s
}

// selector draws a selector; half of them select everything.
func selector(t *rapid.T) model.Selector {
	var s model.Selector
	for range max(0, rapid.IntRange(-2, 2).Draw(t, "requirements")) {
		r := model.Requirement{Key: one(t, "key", labelKeys), Op: model.Operator(rapid.IntRange(0, 3).Draw(t, "operator"))}
		if r.Op == model.In || r.Op == model.NotIn {
			for range rapid.IntRange(1, 2).Draw(t, "values") {
				r.Values = append(r.Values, one(t, "value", labelValue))
			}
			slices.Sort(r.Values)
			r.Values = slices.Compact(r.Values)
		}
		s.Requirements = append(s.Requirements, r)
	}
	slices.SortFunc(s.Requirements, compareRequirements)
	s.Requirements = slices.CompactFunc(s.Requirements, func(a, b model.Requirement) bool { return compareRequirements(a, b) == 0 })
	return s
}

func compareRequirements(a, b model.Requirement) int {
	return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Op, b.Op), slices.Compare(a.Values, b.Values))
}

func rules(t *rapid.T, prefix string, pass bool) []model.Rule {
	var out []model.Rule
	for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
		actions := []model.Action{model.ActionDeny, model.ActionAccept}
		if pass {
			actions = append(actions, model.ActionPass)
		}
		r := model.Rule{
			Name:   fmt.Sprintf("%s%d", prefix, i),
			Action: one(t, "action", actions),
			Log:    rapid.Bool().Draw(t, "log"),
		}
		// No peer at all matches nobody, no port nothing.
		for range rapid.IntRange(0, 9).Draw(t, "peers")/4 + 1 {
			r.Peers = append(r.Peers, peer(t))
		}
		for range rapid.IntRange(0, 9).Draw(t, "ports")/4 + 1 {
			r.Ports = append(r.Ports, portMatch(t))
		}
		switch rapid.IntRange(0, 29).Draw(t, "empty") {
		case 0:
			r.Peers = nil
		case 1:
			r.Ports = nil
		}
		out = append(out, r)
	}
	return out
}

func peer(t *rapid.T) model.Peer {
	p := model.Peer{Kind: one(t, "peer", []model.PeerKind{
		model.PeerAny, model.PeerEndpoints, model.PeerEndpoints, model.PeerBlock, model.PeerBlock, model.PeerAddressGroup, model.PeerEntity,
	})}
	switch p.Kind {
	case model.PeerAny:
	case model.PeerEndpoints:
		p.Endpoint = one(t, "endpoint", []model.EndpointKind{model.EndpointPod, model.EndpointPod, model.EndpointNode, model.EndpointExternal})
		p.Labels = selector(t)
		if p.Endpoint != model.EndpointNode {
			p.Namespaces = namespaceMatch(t)
		}
	case model.PeerBlock:
		p.Block = block(t)
	case model.PeerAddressGroup:
		p.Name = one(t, "group", groupNames)
	case model.PeerEntity:
		p.Entity = model.Entity(rapid.IntRange(0, 3).Draw(t, "entity"))
	}
	return p
}

func namespaceMatch(t *rapid.T) model.NamespaceMatch {
	if rapid.Bool().Draw(t, "by name") {
		return model.NamespaceMatch{Name: one(t, "namespace", namespaces)}
	}
	return model.NamespaceMatch{Labels: selector(t)}
}

// block draws a block; its excepts lie inside it and are smaller than it.
func block(t *rapid.T) model.Block {
	b := model.Block{CIDR: prefix(t)}
	for range max(0, rapid.IntRange(-1, 2).Draw(t, "excepts")) {
		a := address(t)
		if b.CIDR.Contains(a) && b.CIDR.Bits() < a.BitLen() {
			b.Except = append(b.Except, mask(t, a, b.CIDR.Bits()+1))
		}
	}
	slices.SortFunc(b.Except, comparePrefixes)
	b.Except = slices.CompactFunc(b.Except, func(x, y netip.Prefix) bool { return x == y })
	return b
}

func portMatch(t *rapid.T) model.PortMatch {
	switch rapid.IntRange(0, 9).Draw(t, "port") {
	case 0, 1, 2:
		return model.PortMatch{Proto: model.ProtoAny}
	case 3, 4:
		return model.PortMatch{Proto: one(t, "protocol", append([]model.Protocol{model.ProtoAny}, transports...)), Name: one(t, "name", portNames)}
	case 5:
		return icmpMatch(t)
	case 6:
		return model.PortMatch{Proto: one(t, "protocol", transports), Lo: 0, Hi: 65535}
	default:
		lo, hi := one(t, "from", portNumber), one(t, "to", portNumber)
		return model.PortMatch{Proto: one(t, "protocol", transports), Lo: min(lo, hi), Hi: max(lo, hi)}
	}
}

func icmpMatch(t *rapid.T) model.PortMatch {
	m := model.PortMatch{Proto: one(t, "protocol", []model.Protocol{model.ProtoICMP, model.ProtoICMPv6})}
	typ := one(t, "type", []model.Port{0, 8, 128, 255})
	switch rapid.IntRange(0, 2).Draw(t, "ICMP") {
	case 0:
		m.Lo, m.Hi = 0, 65535
	case 1:
		m.Lo, m.Hi = typ<<8, typ<<8|255
	default:
		m.Lo, m.Hi = typ<<8|1, typ<<8|1
	}
	return m
}
