package compile

import (
	"fmt"
	"strings"
	"testing"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// TestRulesPerNode: the rules of all policies on a node count, whatever they are about,
// and the newest that is too many is refused by name, with a stand-in.
func TestRulesPerNode(t *testing.T) {
	of := func(name, app string, n int) model.Policy {
		var rules []model.RuntimeRule
		for i := range n {
			rules = append(rules, denies(fmt.Sprintf("r%d", i), fmt.Sprintf("/%s/%d", name, i)))
		}
		p := processes(name, model.SectionExecutables, rules...)
		p.Subject.Labels = model.Selector{Requirements: []model.Requirement{{Key: "app", Values: []string{app}}}}
		return p
	}
	network := func(name string, rules int) model.Policy {
		p := greedy("x", 0)
		p.Ref.Name, p.Ref.Namespace, p.Subject.Namespaces.Name = name, "shop", "shop"
		p.Ingress = nil
		for i := range rules {
			p.Ingress = append(p.Ingress, model.Rule{
				Name: fmt.Sprintf("r%d", i), Action: model.ActionAccept,
				Peers: []model.Peer{{Kind: model.PeerAny}}, Ports: []model.PortMatch{{Proto: model.ProtoTCP, Lo: model.Port(i + 1), Hi: model.Port(i + 1)}},
			})
		}
		return p
	}
	both := of("both", "a", 3)
	both.Tier, both.Ref.Kind, both.Ref.Namespace = model.TierAdmin, model.KindClusterwide, ""
	both.Ingress = network("", 4).Ingress
	wide := network("m", 20) // the first of which decides about everything
	for i := range wide.Ingress {
		wide.Ingress[i].Ports = []model.PortMatch{{Proto: model.ProtoAny}}
	}
	for name, tc := range map[string]struct {
		policies []model.Policy // the oldest first
		want     string
	}{
		"it fits":                       {[]model.Policy{of("p", "a", 5), of("q", "b", 5)}, ""},
		"of one pod":                    {[]model.Policy{of("p", "a", 11)}, "p: 11"},
		"of two pods of one node":       {[]model.Policy{of("p", "a", 5), of("q", "b", 6)}, "q: 11"},
		"two pods have the same":        {[]model.Policy{processes("p", model.SectionFiles, of("p", "", 10).Runtime.Sections[0].Rules...)}, ""},
		"of the network":                {[]model.Policy{network("n", 9), network("m", 1)}, "m: 12"}, // with two isolations
		"of the network, for two pods":  {[]model.Policy{network("n", 9)}, ""},
		"of processes and the network":  {[]model.Policy{network("n", 5), of("q", "b", 5)}, "q: 11"},
		"of the network, never asked":   {[]model.Policy{wide}, ""},
		"of one policy about both":      {[]model.Policy{of("p", "b", 4), both}, "both: 11"},
		"of processes, then of network": {[]model.Policy{of("q", "b", 5), network("n", 5)}, "n: 11"},
	} {
		t.Run(name, func(t *testing.T) {
			c := runtimeShop(Options{RulesPerNode: 10})
			for i, p := range tc.policies {
				c.PutPolicy(p, Order(i))
			}
			got := ""
			for _, r := range c.Commit().Refused {
				got = fmt.Sprintf("%s: %d", r.Policy.Name, r.Needed)
				if want := fmt.Sprintf("%d rules per node are needed (node n), at most 10 fit: narrow the subject, or merge rules", r.Needed); !strings.HasSuffix(r.Error(), want) {
					t.Errorf("refused as %q", r.Error())
				}
			}
			if got != tc.want {
				t.Errorf("refused %q, want %q", got, tc.want)
			}
			if rows := runtimeRows[snapshot.RuleRow](t, c); len(rows) > 10+3+4 {
				t.Errorf("the node gets %d rules", len(rows))
			}
		})
	}
}

// TestStandInsHaveRoom: whatever is refused, what the node gets is never more than an
// agent has room for.
func TestStandInsHaveRoom(t *testing.T) {
	if DefaultRulesPerNode+standInsPerNode != snapshot.MaxRulesPerNode {
		t.Errorf("%d rules and %d stand-ins, of %d", DefaultRulesPerNode, standInsPerNode, snapshot.MaxRulesPerNode)
	}
	c := runtimeShop(Options{RulesPerNode: 10}) // nine, and the first isolation
	for i := range 300 {
		p := processes(fmt.Sprintf("p%03d", i), model.SectionFiles, denies("r", fmt.Sprintf("/%d", i)))
		p.Runtime.Sections[model.SectionNetwork].Isolates = true
		c.PutPolicy(p, Order(i))
	}
	if refused := c.Commit().Refused; len(refused) != 291 {
		t.Errorf("%d refused", len(refused))
	}
	if rows := runtimeRows[snapshot.RuleRow](t, c); len(rows) != 10+2+2 {
		t.Errorf("the node gets %d rules", len(rows))
	}
}
