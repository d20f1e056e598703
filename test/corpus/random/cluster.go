package random

import (
	"fmt"
	"net/netip"
	"slices"

	"pgregory.net/rapid"

	"palisade.dev/palisade/policy/model"
)

var (
	namespaces = []string{"a", "b", "c"}
	labelKeys  = []string{"app", "tier"}
	labelValue = []string{"", "x", "y"}
	portNames  = []string{"dns", "http"}
	portNumber = []model.Port{1, 53, 80, 8080, 65535}
	transports = []model.Protocol{model.ProtoTCP, model.ProtoUDP, model.ProtoSCTP}
	groupNames = []string{"first", "second", "missing"}
)

// Cluster draws a cluster.
func Cluster(t *rapid.T) model.Cluster {
	var c model.Cluster
	for _, name := range namespaces {
		c.Namespaces = append(c.Namespaces, model.Namespace{Name: name, Labels: labels(t, "namespace "+name)})
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "nodes") {
		c.Endpoints = append(c.Endpoints, nodeEndpoint(t, i))
	}
	for i := range rapid.IntRange(1, 8).Draw(t, "pods") {
		c.Endpoints = append(c.Endpoints, pod(t, i))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "external workloads") {
		c.Endpoints = append(c.Endpoints, model.Endpoint{
			ID:        model.EndpointID{Kind: model.EndpointExternal, Namespace: one(t, "namespace", namespaces), Name: fmt.Sprintf("vm%d", i)},
			Labels:    labels(t, "external workload"),
			Addresses: addresses(t, "external workload"),
			Ports:     ports(t),
		})
	}
	for _, name := range groupNames[:2] {
		g := model.AddressGroup{Name: name}
		for range rapid.IntRange(0, 3).Draw(t, "cidrs") {
			g.CIDRs = append(g.CIDRs, prefix(t))
		}
		slices.SortFunc(g.CIDRs, comparePrefixes)
		g.CIDRs = slices.Compact(g.CIDRs)
		c.AddressGroups = append(c.AddressGroups, g)
	}
	for range rapid.IntRange(0, 2).Draw(t, "API servers") {
		c.APIServer = append(c.APIServer, address(t))
	}
	slices.SortFunc(c.APIServer, netip.Addr.Compare)
	c.APIServer = slices.Compact(c.APIServer)
	for i := range rapid.IntRange(0, 12).Draw(t, "policies") {
		c.Policies = append(c.Policies, policy(t, i))
	}
	return c
}

func nodeEndpoint(t *rapid.T, i int) model.Endpoint {
	name := fmt.Sprintf("n%d", i)
	return model.Endpoint{
		ID:        model.EndpointID{Kind: model.EndpointNode, Name: name},
		Labels:    labels(t, "node"),
		Node:      model.NodeName(name),
		Addresses: addresses(t, "node"),
		PodRanges: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)},
	}
}

// pod draws a pod; its node may be none, or one that is no object.
func pod(t *rapid.T, i int) model.Endpoint {
	id := model.EndpointID{Kind: model.EndpointPod, Namespace: one(t, "namespace", namespaces), Name: fmt.Sprintf("p%d", i)}
	return model.Endpoint{
		ID:        id,
		UID:       model.UID("uid-" + id.String()),
		Labels:    labels(t, "pod"),
		Node:      one(t, "node", []model.NodeName{"n0", "n0", "n1", "n1", "n2", ""}),
		Addresses: addresses(t, "pod"),
		Ports:     ports(t),
	}
}

func labels(t *rapid.T, of string) map[string]string {
	out := map[string]string{}
	for _, key := range labelKeys {
		if rapid.Bool().Draw(t, of+" has "+key) {
			out[key] = one(t, key, labelValue)
		}
	}
	return out
}

func ports(t *rapid.T) []model.NamedPort {
	var out []model.NamedPort
	for _, name := range portNames {
		for range rapid.IntRange(0, 2).Draw(t, "ports called "+name) {
			p := model.NamedPort{Name: name, Proto: one(t, "protocol", transports), Port: one(t, "port", portNumber)}
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// addresses draws at most one address of either family; two endpoints may get
// the same.
func addresses(t *rapid.T, of string) []netip.Addr {
	var out []netip.Addr
	if rapid.IntRange(0, 9).Draw(t, of+" has IPv4") > 0 {
		out = append(out, address4(t))
	}
	if rapid.IntRange(0, 2).Draw(t, of+" has IPv6") == 0 {
		out = append(out, address6(t))
	}
	return out
}

func address4(t *rapid.T) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, rapid.Byte().Draw(t, "third") % 2, rapid.Byte().Draw(t, "fourth") % 16})
}

func address6(t *rapid.T) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 15: rapid.Byte().Draw(t, "last") % 8})
}

func address(t *rapid.T) netip.Addr {
	if rapid.IntRange(0, 3).Draw(t, "family") == 0 {
		return address6(t)
	}
	return address4(t)
}

// prefix draws a prefix around one of the few addresses that there are.
func prefix(t *rapid.T) netip.Prefix {
	a := address(t)
	return mask(t, a, 0)
}

// mask cuts an address to a prefix of at least so many bits.
func mask(t *rapid.T, a netip.Addr, atLeast int) netip.Prefix {
	bits := one(t, "bits", []int{0, 8, 23, 24, 28, 29, 30, 31, 32})
	if a.Is6() && bits > 8 {
		bits += 96
	}
	p, err := a.Prefix(max(bits, atLeast))
	if err != nil {
		t.Fatalf("prefix of %s: %v", a, err)
	}
	return p
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

func one[T any](t *rapid.T, what string, from []T) T {
	return from[rapid.IntRange(0, len(from)-1).Draw(t, what)]
}
