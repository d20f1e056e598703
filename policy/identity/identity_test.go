package identity

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"palisade.dev/palisade/policy/model"
)

func pod(name string, labels map[string]string) model.Endpoint {
	return model.Endpoint{ID: model.EndpointID{Namespace: "shop", Name: name}, Labels: labels}
}

func hostPod(name string, labels map[string]string) model.Endpoint {
	e := pod(name, labels)
	e.HostNetwork = true
	return e
}

// kindOf settles the table and returns the kind of an endpoint.
func kindOf(t *testing.T, table *Table, name string) *Kind {
	t.Helper()
	table.Settle()
	e := table.endpoints[model.EndpointID{Namespace: "shop", Name: name}]
	if e == nil || e.now == nil {
		t.Fatalf("%s: not there", name)
	}
	return e.now.Kind
}

// TestWhatMakesAKind puts two pods that differ in one thing and says whether
// that makes them different kinds, before and after somebody reads it.
func TestWhatMakesAKind(t *testing.T) {
	labelled := func(name, value string) model.Endpoint { return pod(name, map[string]string{"app": value}) }
	port := func(name string, number model.Port) model.Endpoint {
		e := pod(name, nil)
		e.Ports = []model.NamedPort{{Name: "http", Proto: model.ProtoTCP, Port: number}}
		return e
	}
	elsewhere := func(name string) model.Endpoint {
		e := pod(name, nil)
		e.Node, e.UID, e.Addresses = "n2", "u", []netip.Addr{netip.MustParseAddr("10.0.0.1")}
		return e
	}
	for name, tc := range map[string]struct {
		a, b                model.Endpoint
		reads               Needs
		differ, differAfter bool
	}{
		"nothing":                    {a: pod("a", nil), b: pod("b", nil)},
		"node, UID and addresses":    {a: pod("a", nil), b: elsewhere("b")},
		"a label's value":            {a: labelled("a", "x"), b: labelled("b", "y"), reads: Needs{Labels: [model.EndpointKinds][]string{{"app"}}}, differAfter: true},
		"a label that one lacks":     {a: labelled("a", "x"), b: pod("b", nil), reads: Needs{Labels: [model.EndpointKinds][]string{{"app"}}}, differAfter: true},
		"an empty value and none":    {a: labelled("a", ""), b: pod("b", nil), reads: Needs{Labels: [model.EndpointKinds][]string{{"app"}}}, differAfter: true},
		"a label read of nodes only": {a: labelled("a", "x"), b: labelled("b", "y"), reads: Needs{Labels: [model.EndpointKinds][]string{nil, {"app"}}, NamespaceLabels: []string{"app"}}},
		"a host pod's label": {
			a: hostPod("a", map[string]string{"app": "x"}), b: hostPod("b", nil),
			reads: Needs{Labels: [model.EndpointKinds][]string{model.EndpointHostPod: {"app"}}}, differAfter: true,
		},
		"a host pod's label read of pods only": {
			a: hostPod("a", map[string]string{"app": "x"}), b: hostPod("b", nil), reads: Needs{Labels: [model.EndpointKinds][]string{{"app"}}},
		},
		"a port's number":          {a: port("a", 80), b: port("b", 81), reads: Needs{Ports: []string{"http"}}, differAfter: true},
		"a port that nobody names": {a: port("a", 80), b: port("b", 81), reads: Needs{Ports: []string{"https"}}},
	} {
		t.Run(name, func(t *testing.T) {
			table := NewTable()
			table.PutEndpoint(tc.a)
			table.PutEndpoint(tc.b)
			if differ := kindOf(t, table, "a") != kindOf(t, table, "b"); differ != tc.differ {
				t.Errorf("before: different kinds %v", differ)
			}
			before := kindOf(t, table, "a").Content
			table.Use(&tc.reads)
			if differ := kindOf(t, table, "a") != kindOf(t, table, "b"); differ != tc.differAfter {
				t.Errorf("once it is read: different kinds %v", differ)
			}
			table.Release(&tc.reads)
			if kindOf(t, table, "a") != kindOf(t, table, "b") || kindOf(t, table, "a").Content != before {
				t.Error("once nobody reads it any more: not as before")
			}
		})
	}
}

func TestHostNetworkingMakesAKind(t *testing.T) {
	table := NewTable()
	table.PutEndpoint(pod("a", nil))
	table.PutEndpoint(hostPod("b", nil))
	if a, b := kindOf(t, table, "a"), kindOf(t, table, "b"); a == b || a.Endpoint != model.EndpointPod || b.Endpoint != model.EndpointHostPod {
		t.Errorf("kinds of class %s and %s", a.Endpoint, b.Endpoint)
	}
	before := kindOf(t, table, "a")
	table.PutEndpoint(pod("b", nil)) // deleted, and made again under the same name
	if kindOf(t, table, "b") != before {
		t.Error("a pod that gave up host networking is not of the others' kind")
	}
}

func TestNamespacesAreReadThroughTheirEndpoints(t *testing.T) {
	table := NewTable()
	table.Use(&Needs{NamespaceLabels: []string{"team"}})
	table.PutEndpoint(pod("a", nil))
	bare := kindOf(t, table, "a")
	table.PutNamespace(model.Namespace{Name: "shop", Labels: map[string]string{"team": "x", "other": "y"}})
	named := kindOf(t, table, "a")
	if named == bare {
		t.Error("a label of the namespace is not seen")
	}
	table.PutNamespace(model.Namespace{Name: "shop", Labels: map[string]string{"team": "x", "other": "z"}})
	if changes := table.Settle(); len(changes.Endpoints) != 0 {
		t.Errorf("a label that nobody reads touched %d endpoints", len(changes.Endpoints))
	}
	table.DeleteNamespace("shop")
	if kindOf(t, table, "a").Content != bare.Content {
		t.Error("without its namespace: not as before")
	}
	table.DeleteEndpoint(model.EndpointID{Namespace: "shop", Name: "a"})
	table.Settle()
	if len(table.namespaces)+len(table.endpoints)+len(table.kinds) > 0 {
		t.Errorf("left: %d namespaces, %d endpoints, %d kinds", len(table.namespaces), len(table.endpoints), len(table.kinds))
	}
}

func TestHostNamesNodes(t *testing.T) {
	table := NewTable()
	for _, name := range []string{"n1", "n2"} {
		table.PutEndpoint(model.Endpoint{ID: model.EndpointID{Kind: model.EndpointNode, Name: name}, Node: model.NodeName(name)})
	}
	if changes := table.Settle(); len(changes.Added) != 1 || changes.Added[0].Node != "" {
		t.Errorf("while nobody asks for the host: %d kinds", len(changes.Added))
	}
	table.Use(&Needs{Host: true})
	changes := table.Settle()
	if len(changes.Added) != 2 || len(changes.Removed) != 1 || changes.Added[0].Node == changes.Added[1].Node {
		t.Errorf("once somebody does: %d kinds added, %d removed", len(changes.Added), len(changes.Removed))
	}
}

// TestOnlyHoldersAreTouched: the first reader of a key costs those that have it.
func TestOnlyHoldersAreTouched(t *testing.T) {
	table := NewTable()
	for i := range 100 {
		labels := map[string]string{"app": "x"}
		if i == 7 {
			labels["special"] = "yes"
		}
		table.PutEndpoint(pod(fmt.Sprint(i), labels))
	}
	table.Settle()
	table.Use(&Needs{Labels: [model.EndpointKinds][]string{{"special"}}})
	if len(table.marked) != 1 {
		t.Errorf("%d endpoints were touched", len(table.marked))
	}
	if changes := table.Settle(); len(changes.Endpoints) != 1 || changes.Endpoints[0].New.ID.Name != "7" {
		t.Errorf("%d endpoints changed", len(changes.Endpoints))
	}
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestPartition(t *testing.T) {
	for name, tc := range map[string]struct {
		areas []Area
		want  string
	}{
		"nothing":           {nil, "[]"},
		"one":               {[]Area{{In: prefixes("10.0.0.0/8")}}, "[{10.0.0.0/8 [0]}]"},
		"except":            {[]Area{{In: prefixes("10.0.0.0/8"), Out: prefixes("10.1.0.0/16")}}, "[{10.0.0.0/8 [0]} {10.1.0.0/16 []}]"},
		"except in another": {[]Area{{In: prefixes("10.0.0.0/8"), Out: prefixes("10.1.0.0/16")}, {In: prefixes("10.1.2.0/24")}}, "[{10.0.0.0/8 [0]} {10.1.0.0/16 []} {10.1.2.0/24 [1]}]"},
		"nested and equal":  {[]Area{{In: prefixes("10.0.0.0/8", "10.1.0.0/16")}}, "[{10.0.0.0/8 [0]}]"},
		"one inside another": {[]Area{{In: prefixes("10.0.0.0/8")}, {In: prefixes("10.1.0.0/16")}, {In: prefixes("10.0.0.0/8")}},
			"[{10.0.0.0/8 [0 2]} {10.1.0.0/16 [0 1 2]}]"},
		"beside":            {[]Area{{In: prefixes("10.1.0.0/16")}, {In: prefixes("10.0.0.0/16")}}, "[{10.0.0.0/16 [1]} {10.1.0.0/16 [0]}]"},
		"families":          {[]Area{{In: prefixes("::/0", "0.0.0.0/0")}}, "[{0.0.0.0/0 [0]} {::/0 [0]}]"},
		"except of nothing": {[]Area{{In: prefixes("10.0.0.0/8"), Out: prefixes("11.0.0.0/16")}}, "[{10.0.0.0/8 [0]}]"},
		"except of all":     {[]Area{{In: prefixes("10.0.0.0/8"), Out: prefixes("10.0.0.0/8")}}, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(Partition(tc.areas)); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// TestPartitionAgreesWithLooking asks random areas about random addresses, once
// by the longest matching part and once directly.
func TestPartitionAgreesWithLooking(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var areas []Area
		for range r.IntN(6) {
			var a Area
			for range r.IntN(3) {
				a.In = append(a.In, randomPrefix(r, 0))
			}
			if len(a.In) == 1 {
				for range r.IntN(3) {
					a.Out = append(a.Out, randomPrefix(r, a.In[0].Bits()))
				}
			}
			areas = append(areas, a)
		}
		parts := Partition(areas)
		if !slices.IsSortedFunc(parts, func(a, b Part) int { return ComparePrefixes(a.Prefix, b.Prefix) }) {
			t.Fatalf("%v: parts not sorted: %v", areas, parts)
		}
		for range 50 {
			addr := randomAddr(r)
			var got []int32
			longest := -1
			for _, p := range parts {
				if p.Prefix.Contains(addr) && p.Prefix.Bits() > longest {
					longest, got = p.Prefix.Bits(), p.Areas
				}
			}
			var want []int32
			for i, a := range areas {
				contains := func(p netip.Prefix) bool { return p.Contains(addr) }
				if slices.ContainsFunc(a.In, contains) && !slices.ContainsFunc(a.Out, contains) {
					want = append(want, int32(i))
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%v in %v: parts %v say %v, looking says %v", addr, areas, parts, got, want)
			}
		}
	}
}

// Addresses are short, so that they meet.
func randomAddr(r *rand.Rand) netip.Addr {
	if r.IntN(4) == 0 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(r.IntN(8))})
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(16))})
}

func randomPrefix(r *rand.Rand, longerThan int) netip.Prefix {
	a := randomAddr(r)
	bits := a.BitLen() - r.IntN(6)
	if r.IntN(8) == 0 {
		bits = 0
	}
	return netip.PrefixFrom(a, min(a.BitLen(), max(bits, longerThan+1))).Masked()
}
