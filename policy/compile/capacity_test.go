package compile

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"palisade.dev/palisade/policy/model"
)

// greedy is a policy that tells n blocks apart, and by them as many cells.
func greedy(name string, n int) model.Policy {
	r := model.Rule{Name: "r", Action: model.ActionAccept, Ports: []model.PortMatch{{Proto: model.ProtoAny}}}
	for i := range n {
		// Policies have no blocks in common.
		cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{name[0], byte(i >> 8), byte(i), 0}), 24)
		r.Peers = append(r.Peers, model.Peer{Kind: model.PeerBlock, Block: model.Block{CIDR: cidr}})
	}
	return model.Policy{
		Ref: model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: "ns-00000", Name: name}, Tier: model.TierNamespace,
		Subject: model.Subject{Namespaces: model.NamespaceMatch{Name: "ns-00000"}}, IsolateIngress: true, Ingress: []model.Rule{r},
	}
}

func refusedNames(c *Compiler) string {
	var names []string
	for _, r := range c.Refusals() {
		names = append(names, r.Policy.Name)
	}
	return strings.Join(names, " ")
}

func TestRefusals(t *testing.T) {
	type put struct {
		name  string
		cells int
		order Order
	}
	for name, tc := range map[string]struct {
		options Options
		puts    []put
		want    string
	}{
		"it fits":                     {Options{CellsPerRuleset: 10}, []put{{"a", 4, 1}, {"b", 5, 2}}, ""},
		"the newest loses":            {Options{CellsPerRuleset: 10}, []put{{"b", 5, 1}, {"a", 6, 2}}, "a"},
		"among equals the last name":  {Options{CellsPerRuleset: 10}, []put{{"a", 6, 1}, {"b", 5, 1}}, "b"},
		"a small one that is older":   {Options{CellsPerRuleset: 10}, []put{{"a", 2, 1}, {"b", 9, 2}}, "b"},
		"as many as it takes":         {Options{CellsPerRuleset: 10}, []put{{"a", 6, 1}, {"b", 5, 2}, {"c", 6, 3}}, "b c"},
		"one that fits after all":     {Options{CellsPerRuleset: 10}, []put{{"a", 6, 1}, {"b", 5, 2}, {"c", 3, 3}}, "b"},
		"one that never fits":         {Options{CellsPerRuleset: 10}, []put{{"a", 20, 1}, {"b", 5, 2}}, "a"},
		"what a node holds, in total": {Options{CellsPerNode: 12}, []put{{"a", 6, 1}, {"b", 6, 2}}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			// One kind on one node: its egress ruleset has one cell.
			c := Full(fewLargeNamespaces(1, 0, 0, 1), tc.options)
			c.PutEndpoint(newcomer("node-0000", nil))
			for _, p := range tc.puts {
				c.PutPolicy(greedy(p.name, p.cells), p.order)
			}
			c.Commit()
			if got := refusedNames(c); got != tc.want {
				t.Errorf("at once: refused %q, want %q: %v", got, tc.want, c.Refusals())
			}
			again := New(tc.options)
			again.PutEndpoint(newcomer("node-0000", nil))
			for i := range tc.puts {
				p := tc.puts[len(tc.puts)-1-i]
				again.PutPolicy(greedy(p.name, p.cells), p.order)
				again.Commit()
			}
			if got := refusedNames(again); got != tc.want {
				t.Errorf("one by one, the newest first: refused %q, want %q", got, tc.want)
			}
		})
	}
}

// TestRefusedCandidate: of a policy that was never in force nothing is compiled
// unless it fits.
func TestRefusedCandidate(t *testing.T) {
	c := New(Options{CellsPerRuleset: 10})
	c.PutEndpoint(newcomer("node-0000", nil))
	c.PutPolicy(greedy("a", 6), 1)
	c.Commit()
	alone := c.Digest("node-0000")
	c.PutPolicy(greedy("b", 6), Candidate)
	changes := c.Commit()
	if len(changes.Refused) != 1 || changes.Refused[0].Policy.Name != "b" {
		t.Fatalf("refused %v", changes.Refused)
	}
	if text := changes.Refused[0].Error(); !strings.Contains(text, "pnp/ns-00000/b: 13 cells per ruleset") || strings.Contains(text, "\n") {
		t.Errorf("not one line that names policy and limit: %q", text)
	}
	if !changes.Empty() || c.Digest("node-0000") != alone {
		t.Error("something of a refused policy reached the node")
	}
	if s := c.Subjects(model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: "ns-00000", Name: "b"}); s.Endpoints != 1 {
		t.Errorf("a refused policy's subjects: %+v", s)
	}
	c.DeletePolicy(greedy("a", 0).Ref)
	if changes := c.Commit(); len(changes.Refused) != 0 || changes.Empty() {
		t.Errorf("with room: refused %v, changed nothing: %v", changes.Refused, changes.Empty())
	}
}

func TestSubjects(t *testing.T) {
	c := New(Options{})
	ref := greedy("a", 1).Ref
	if s := c.Subjects(ref); fmt.Sprint(s) != "{0 [] 0}" {
		t.Errorf("unknown policy: %+v", s)
	}
	p := greedy("a", 1)
	p.Ingress[0].Peers = append(p.Ingress[0].Peers,
		model.Peer{Kind: model.PeerAddressGroup, Name: "office"}, model.Peer{Kind: model.PeerAddressGroup, Name: "lab"})
	c.PutPolicy(p, 0)
	for i, node := range []model.NodeName{"n2", "n1", "n2", ""} {
		e := newcomer(node, map[string]string{"i": fmt.Sprint(i)})
		e.ID.Name, e.UID = fmt.Sprint(i), model.UID(fmt.Sprint(i))
		c.PutEndpoint(e)
	}
	c.PutAddressGroup(model.AddressGroup{Name: "lab"})
	c.Commit()
	if s := c.Subjects(ref); fmt.Sprint(s) != "{4 [n1 n2] 1}" {
		t.Errorf("%+v", s)
	}
	if m := c.MissingGroups(ref); fmt.Sprint(m) != "[office]" {
		t.Errorf("missing %v", m)
	}
}
