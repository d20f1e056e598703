package property

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"pgregory.net/rapid"

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
func pick[T any](t *rapid.T, label string, list []T) T {
	return list[rapid.IntRange(0, len(list)-1).Draw(t, label)]
}

// chance is true once in n times.
func chance(t *rapid.T, label string, n int) bool {
	return rapid.IntRange(0, n-1).Draw(t, label) == n-1
}

// some draws up to most elements.
func some[T any](t *rapid.T, label string, least, most int, draw func() T) []T {
	var out []T
	for range rapid.IntRange(least, most).Draw(t, label) {
		out = append(out, draw())
	}
	return out
}

func drawLabels(t *rapid.T) map[string]string {
	out := map[string]string{}
	for _, k := range labelKeys {
		if v := rapid.IntRange(0, len(labelValues)).Draw(t, k); v > 0 {
			out[k] = labelValues[v-1]
		}
	}
	return out
}

func drawSelector(t *rapid.T) model.Selector {
	var out model.Selector
	for _, k := range labelKeys {
		if !chance(t, "requires "+k, 3) {
			continue
		}
		r := model.Requirement{Key: k, Op: pick(t, "operator", []model.Operator{model.In, model.In, model.NotIn, model.Exists, model.DoesNotExist})}
		if r.Op == model.In || r.Op == model.NotIn {
			r.Values = some(t, "values", 1, 2, func() string { return pick(t, "value", labelValues) })
			slices.Sort(r.Values)
			r.Values = slices.Compact(r.Values)
		}
		out.Requirements = append(out.Requirements, r)
	}
	slices.SortFunc(out.Requirements, func(a, b model.Requirement) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return out
}

func drawNamespaces(t *rapid.T) model.NamespaceMatch {
	if chance(t, "by name", 2) {
		return model.NamespaceMatch{Name: pick(t, "namespace", namespaceNames)}
	}
	return model.NamespaceMatch{Labels: drawSelector(t)}
}

func drawPeer(t *rapid.T) model.Peer {
	switch rapid.IntRange(0, 9).Draw(t, "peer") {
	case 0:
		return model.Peer{Kind: model.PeerAny}
	case 1, 2, 3:
		return model.Peer{Kind: model.PeerEndpoints, Endpoint: model.EndpointPod, Namespaces: drawNamespaces(t), Labels: drawSelector(t)}
	case 4:
		return model.Peer{Kind: model.PeerEndpoints, Endpoint: model.EndpointNode, Labels: drawSelector(t)}
	case 5:
		return model.Peer{Kind: model.PeerEndpoints, Endpoint: model.EndpointExternal, Namespaces: drawNamespaces(t), Labels: drawSelector(t)}
	case 6:
		return model.Peer{Kind: model.PeerAddressGroup, Name: pick(t, "group", groupNames)}
	case 7:
		return model.Peer{Kind: model.PeerEntity, Entity: model.Entity(rapid.IntRange(0, 3).Draw(t, "entity"))}
	default:
		return model.Peer{Kind: model.PeerBlock, Block: drawBlock(t)}
	}
}

func drawBlock(t *rapid.T) model.Block {
	b := model.Block{CIDR: pick(t, "cidr", prefixes)}
	for _, p := range prefixes {
		if p.Bits() > b.CIDR.Bits() && b.CIDR.Contains(p.Addr()) && chance(t, "except", 3) {
			b.Except = append(b.Except, p)
		}
	}
	return b
}

func drawPort(t *rapid.T) model.PortMatch {
	switch rapid.IntRange(0, 6).Draw(t, "port") {
	case 0:
		return model.PortMatch{Proto: model.ProtoAny}
	case 1:
		return model.PortMatch{Proto: pick(t, "protocol", protocols), Lo: 0, Hi: 65535}
	case 2, 3:
		proto := pick(t, "protocol", append([]model.Protocol{model.ProtoAny}, protocols...))
		return model.PortMatch{Proto: proto, Name: pick(t, "name", portNames)}
	case 4:
		kind := model.Port(rapid.IntRange(0, 255).Draw(t, "type")) << 8
		return model.PortMatch{Proto: pick(t, "icmp", []model.Protocol{model.ProtoICMP, model.ProtoICMPv6}), Lo: kind, Hi: kind | 255}
	default:
		lo, hi := pick(t, "low", ports), pick(t, "high", ports)
		return model.PortMatch{Proto: pick(t, "protocol", protocols), Lo: min(lo, hi), Hi: max(lo, hi)}
	}
}

func drawRules(t *rapid.T, prefix string, actions []model.Action) []model.Rule {
	n := 0
	return some(t, prefix, 0, 3, func() model.Rule {
		n++
		return model.Rule{
			Name:   fmt.Sprintf("%s-%d", prefix, n),
			Action: pick(t, "action", actions),
			Peers:  some(t, "peers", 0, 3, func() model.Peer { return drawPeer(t) }),
			Ports:  some(t, "ports", 0, 3, func() model.PortMatch { return drawPort(t) }),
			Log:    rapid.Bool().Draw(t, "log"),
		}
	})
}

func drawPolicy(t *rapid.T) model.Policy {
	p := model.Policy{
		Mode:    pick(t, "mode", []model.Mode{model.Enforce, model.Enforce, model.Audit}),
		Expired: chance(t, "expired", 8),
		Message: pick(t, "message", []string{"", "why"}),
	}
	name := pick(t, "policy", []string{"p", "q", "r"})
	if rapid.Bool().Draw(t, "clusterwide") {
		actions := []model.Action{model.ActionDeny, model.ActionAccept, model.ActionPass}
		p.Tier = pick(t, "tier", []model.Tier{model.TierAdmin, model.TierBaseline})
		p.Priority = int32(rapid.IntRange(0, 2).Draw(t, "priority"))
		p.Ref = model.PolicyRef{Kind: model.KindClusterwide, Name: name + p.Tier.String()}
		p.Subject = drawSubject(t, drawNamespaces(t))
		p.Ingress, p.Egress = drawRules(t, "in", actions), drawRules(t, "out", actions)
		return p
	}
	p.Tier = model.TierNamespace
	ns := pick(t, "namespace", namespaceNames)
	p.Ref = model.PolicyRef{Kind: pick(t, "kind", []model.PolicyKind{model.KindNetworkPolicy, model.KindUpstream}), Namespace: ns, Name: name}
	p.Subject = drawSubject(t, model.NamespaceMatch{Name: ns})
	p.IsolateIngress, p.IsolateEgress = rapid.Bool().Draw(t, "isolate ingress"), rapid.Bool().Draw(t, "isolate egress")
	actions := []model.Action{model.ActionAccept}
	if p.Ref.Kind == model.KindNetworkPolicy {
		actions = append(actions, model.ActionDeny)
	}
	p.Ingress, p.Egress = drawRules(t, "in", actions), drawRules(t, "out", actions)
	return p
}

func drawSubject(t *rapid.T, namespaces model.NamespaceMatch) model.Subject {
	kind := model.EndpointPod
	if chance(t, "external subject", 6) {
		kind = model.EndpointExternal
	}
	return model.Subject{Kind: kind, Namespaces: namespaces, Labels: drawSelector(t)}
}

// drawEndpointID names one of few endpoints, so that most events change one that
// exists.
func drawEndpointID(t *rapid.T) model.EndpointID {
	switch rapid.IntRange(0, 7).Draw(t, "endpoint") {
	case 0, 1:
		return model.EndpointID{Kind: model.EndpointNode, Name: pick(t, "node", nodeNames)}
	case 2:
		return model.EndpointID{Kind: model.EndpointExternal, Namespace: pick(t, "namespace", namespaceNames), Name: "vm"}
	default:
		return model.EndpointID{Kind: model.EndpointPod, Namespace: pick(t, "namespace", namespaceNames), Name: pick(t, "pod", []string{"1", "2", "3", "4"})}
	}
}

func (w *world) drawEndpoint(t *rapid.T, id model.EndpointID) model.Endpoint {
	e := model.Endpoint{ID: id, Labels: drawLabels(t)}
	e.Addresses = some(t, "addresses", 0, 3, func() netip.Addr { return pick(t, "address", addresses) })
	slices.SortFunc(e.Addresses, netip.Addr.Compare)
	e.Addresses = slices.Compact(e.Addresses)
	switch id.Kind {
	case model.EndpointNode:
		e.Node = model.NodeName(id.Name)
		e.PodRanges = some(t, "ranges", 0, 2, func() netip.Prefix { return pick(t, "range", prefixes) })
		return e
	case model.EndpointPod:
		e.UID = model.UID(id.String())
		e.Node = model.NodeName(pick(t, "on", append([]string{""}, nodeNames...)))
	}
	e.Ports = some(t, "named ports", 0, 2, func() model.NamedPort {
		return model.NamedPort{Name: pick(t, "name", portNames), Proto: pick(t, "protocol", protocols), Port: pick(t, "number", ports)}
	})
	return e
}
