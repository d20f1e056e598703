package property

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"

	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// world is a small cluster that random events change. Names and values come
// from short lists, so that things meet.
type world struct {
	namespaces map[string]model.Namespace
	endpoints  map[model.EndpointID]model.Endpoint
	policies   map[model.PolicyRef]ordered
	groups     map[string]model.AddressGroup
	apiServer  []netip.Addr
	clock      compile.Order
}

type ordered struct {
	policy model.Policy
	order  compile.Order
}

func newWorld() *world {
	return &world{
		namespaces: map[string]model.Namespace{},
		endpoints:  map[model.EndpointID]model.Endpoint{},
		policies:   map[model.PolicyRef]ordered{},
		groups:     map[string]model.AddressGroup{},
	}
}

// cluster is the world as one value.
func (w *world) cluster() model.Cluster {
	c := model.Cluster{
		Namespaces:    slices.Collect(maps.Values(w.namespaces)),
		Endpoints:     slices.Collect(maps.Values(w.endpoints)),
		AddressGroups: slices.Collect(maps.Values(w.groups)),
		APIServer:     w.apiServer,
	}
	for _, p := range w.policies {
		c.Policies = append(c.Policies, p.policy)
	}
	return c
}

// feed gives the whole world to a new compiler in a random order.
func (w *world) feed(options compile.Options) *compile.Compiler {
	c := compile.New(options)
	for _, ns := range w.namespaces {
		c.PutNamespace(ns)
	}
	for _, p := range w.policies {
		c.PutPolicy(p.policy, p.order)
	}
	for _, e := range w.endpoints {
		c.PutEndpoint(e)
	}
	for _, g := range w.groups {
		c.PutAddressGroup(g)
	}
	c.SetAPIServer(w.apiServer)
	c.Commit()
	return c
}

var (
	namespaceNames = []string{"a", "b", "c"}
	labelKeys      = []string{"app", "tier", "env"}
	labelValues    = []string{"x", "y", "z"}
	nodeNames      = []string{"n1", "n2", "n3"}
	portNames      = []string{"http", "dns"}
	groupNames     = []string{"g1", "g2"}
	protocols      = []model.Protocol{model.ProtoTCP, model.ProtoUDP, model.ProtoSCTP}
	ports          = []model.Port{53, 80, 443, 8080, 65535}
	addresses      = addressPool()
	prefixes       = prefixPool()
)

func addressPool() []netip.Addr {
	var out []netip.Addr
	for i := range 12 {
		out = append(out, netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i%3, i)))
	}
	for i := range 6 {
		out = append(out, netip.MustParseAddr(fmt.Sprintf("fd00::%d:%d", i%2, i)))
	}
	return out
}

func prefixPool() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.0.1.0/24", "10.0.1.4/32", "10.0.0.0/30",
		"::/0", "fd00::/16", "fd00::1:0/112", "fd00::1/128", "192.0.2.0/24",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// pick draws one of a list.
func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// chance is true once in n times.
func chance(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

// some draws a list of least to most elements.
func some[T any](r *rand.Rand, least, most int, draw func() T) []T {
	var out []T
	for range least + r.IntN(most-least+1) {
		out = append(out, draw())
	}
	return out
}

func drawLabels(r *rand.Rand) map[string]string {
	out := map[string]string{}
	for _, k := range labelKeys {
		if v := r.IntN(len(labelValues) + 1); v > 0 {
			out[k] = labelValues[v-1]
		}
	}
	return out
}

func drawSelector(r *rand.Rand) model.Selector {
	var out model.Selector
	for _, k := range labelKeys {
		if !chance(r, 3) {
			continue
		}
		req := model.Requirement{Key: k, Op: pick(r, []model.Operator{model.In, model.In, model.NotIn, model.Exists, model.DoesNotExist})}
		if req.Op == model.In || req.Op == model.NotIn {
			req.Values = some(r, 1, 2, func() string { return pick(r, labelValues) })
			slices.Sort(req.Values)
			req.Values = slices.Compact(req.Values)
		}
		out.Requirements = append(out.Requirements, req)
	}
	slices.SortFunc(out.Requirements, func(a, b model.Requirement) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return out
}

func drawNamespaces(r *rand.Rand) model.NamespaceMatch {
	if chance(r, 2) {
		return model.NamespaceMatch{Name: pick(r, namespaceNames)}
	}
	return model.NamespaceMatch{Labels: drawSelector(r)}
}

func drawPeer(r *rand.Rand) model.Peer {
	switch r.IntN(10) {
	case 0:
		return model.Peer{Kind: model.PeerAny}
	case 1, 2, 3:
		return model.Peer{Kind: model.PeerEndpoints, Endpoint: model.EndpointPod, Namespaces: drawNamespaces(r), Labels: drawSelector(r)}
	case 4:
		return model.Peer{Kind: model.PeerEndpoints, Endpoint: model.EndpointNode, Labels: drawSelector(r)}
	case 5:
		return model.Peer{Kind: model.PeerEndpoints, Endpoint: model.EndpointExternal, Namespaces: drawNamespaces(r), Labels: drawSelector(r)}
	case 6:
		return model.Peer{Kind: model.PeerAddressGroup, Name: pick(r, groupNames)}
	case 7:
		return model.Peer{Kind: model.PeerEntity, Entity: model.Entity(r.IntN(4))}
	default:
		return model.Peer{Kind: model.PeerBlock, Block: drawBlock(r)}
	}
}

func drawBlock(r *rand.Rand) model.Block {
	b := model.Block{CIDR: pick(r, prefixes)}
	for _, p := range prefixes {
		if p.Bits() > b.CIDR.Bits() && b.CIDR.Contains(p.Addr()) && chance(r, 3) {
			b.Except = append(b.Except, p)
		}
	}
	return b
}

func drawPort(r *rand.Rand) model.PortMatch {
	switch r.IntN(7) {
	case 0:
		return model.PortMatch{Proto: model.ProtoAny}
	case 1:
		return model.PortMatch{Proto: pick(r, protocols), Lo: 0, Hi: 65535}
	case 2, 3:
		proto := pick(r, append([]model.Protocol{model.ProtoAny}, protocols...))
		return model.PortMatch{Proto: proto, Name: pick(r, portNames)}
	case 4:
		kind := model.Port(r.IntN(256)) << 8
		return model.PortMatch{Proto: pick(r, []model.Protocol{model.ProtoICMP, model.ProtoICMPv6}), Lo: kind, Hi: kind | 255}
	default:
		lo, hi := pick(r, ports), pick(r, ports)
		return model.PortMatch{Proto: pick(r, protocols), Lo: min(lo, hi), Hi: max(lo, hi)}
	}
}

func drawRules(r *rand.Rand, prefix string, actions []model.Action) []model.Rule {
	n := 0
	return some(r, 0, 3, func() model.Rule {
		n++
		return model.Rule{
			Name:   fmt.Sprintf("%s-%d", prefix, n),
			Action: pick(r, actions),
			Peers:  some(r, 0, 3, func() model.Peer { return drawPeer(r) }),
			Ports:  some(r, 0, 3, func() model.PortMatch { return drawPort(r) }),
			Log:    chance(r, 2),
		}
	})
}

func drawPolicy(r *rand.Rand) model.Policy {
	p := model.Policy{
		Mode:    pick(r, []model.Mode{model.Enforce, model.Enforce, model.Audit}),
		Expired: chance(r, 8),
		Message: pick(r, []string{"", "why"}),
	}
	name := pick(r, []string{"p", "q", "r"})
	if chance(r, 2) {
		actions := []model.Action{model.ActionDeny, model.ActionAccept, model.ActionPass}
		p.Tier = pick(r, []model.Tier{model.TierAdmin, model.TierBaseline})
		p.Priority = int32(r.IntN(3))
		p.Ref = model.PolicyRef{Kind: model.KindClusterwide, Name: name + p.Tier.String()}
		p.Subject = drawSubject(r, drawNamespaces(r))
		if chance(r, 3) {
			p.Runtime = drawRuntime(r, p.Tier)
			switch r.IntN(4) {
			case 0:
				p.Subject = model.Subject{Kind: model.EndpointNode, Labels: drawSelector(r)}
				return p
			case 1:
				p.Subject.Kind = model.EndpointExternal
			}
		}
		p.Ingress, p.Egress = drawRules(r, "in", actions), drawRules(r, "out", actions)
		return p
	}
	p.Tier = model.TierNamespace
	ns := pick(r, namespaceNames)
	if chance(r, 3) {
		p.Ref = model.PolicyRef{Kind: model.KindRuntime, Namespace: ns, Name: name}
		p.Subject = model.Subject{Namespaces: model.NamespaceMatch{Name: ns}, Labels: drawSelector(r)}
		p.Runtime = drawRuntime(r, p.Tier)
		return p
	}
	p.Ref = model.PolicyRef{Kind: pick(r, []model.PolicyKind{model.KindNetworkPolicy, model.KindUpstream}), Namespace: ns, Name: name}
	p.Subject = drawSubject(r, model.NamespaceMatch{Name: ns})
	p.IsolateIngress, p.IsolateEgress = chance(r, 2), chance(r, 2)
	actions := []model.Action{model.ActionAccept}
	if p.Ref.Kind == model.KindNetworkPolicy {
		actions = append(actions, model.ActionDeny)
	}
	p.Ingress, p.Egress = drawRules(r, "in", actions), drawRules(r, "out", actions)
	return p
}

func drawSubject(r *rand.Rand, namespaces model.NamespaceMatch) model.Subject {
	kind := model.EndpointPod
	if chance(r, 6) {
		kind = model.EndpointExternal
	}
	return model.Subject{Kind: kind, Namespaces: namespaces, Labels: drawSelector(r)}
}

// drawEndpointID names one of few endpoints, so that most events change one that
// exists.
func drawEndpointID(r *rand.Rand) model.EndpointID {
	switch r.IntN(8) {
	case 0, 1:
		return model.EndpointID{Kind: model.EndpointNode, Name: pick(r, nodeNames)}
	case 2:
		return model.EndpointID{Kind: model.EndpointExternal, Namespace: pick(r, namespaceNames), Name: "vm"}
	default:
		return model.EndpointID{Kind: model.EndpointPod, Namespace: pick(r, namespaceNames), Name: pick(r, []string{"1", "2", "3", "4"})}
	}
}

func (w *world) drawEndpoint(r *rand.Rand, id model.EndpointID) model.Endpoint {
	e := model.Endpoint{ID: id, Labels: drawLabels(r)}
	e.Addresses = some(r, 0, 3, func() netip.Addr { return pick(r, addresses) })
	slices.SortFunc(e.Addresses, netip.Addr.Compare)
	e.Addresses = slices.Compact(e.Addresses)
	switch id.Kind {
	case model.EndpointNode:
		e.Node = model.NodeName(id.Name)
		e.PodRanges = some(r, 0, 2, func() netip.Prefix { return pick(r, prefixes) })
		return e
	case model.EndpointPod:
		e.UID = model.UID(id.String())
		e.Node = model.NodeName(pick(r, append([]string{""}, nodeNames...)))
		if chance(r, 4) {
			e.ConfigHash = "hash of " + id.String()
		}
		if chance(r, 5) {
			e.HostNetwork, e.Addresses = true, nil
			return e
		}
	case model.EndpointExternal:
		if !chance(r, 3) {
			e.Node = model.HostOf(id)
		}
	}
	e.Ports = some(r, 0, 2, func() model.NamedPort {
		return model.NamedPort{Name: pick(r, portNames), Proto: pick(r, protocols), Port: pick(r, ports)}
	})
	return e
}
