package compile

import (
	"fmt"
	"strings"
	"testing"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

func TestRuntimeRefusals(t *testing.T) {
	many := func(n int, rule func(i int) model.RuntimeRule) []model.RuntimeRule {
		var out []model.RuntimeRule
		for i := range n {
			r := rule(i)
			r.Name = fmt.Sprintf("r%05d", i)
			out = append(out, r)
		}
		return out
	}
	path := func(i int) model.RuntimeRule { return denies("", fmt.Sprintf("/%d", i)) }
	long := func(n int) string { return "/" + strings.Repeat("x", n) }
	for name, tc := range map[string]struct {
		options  Options
		section  model.Section
		fit, not []model.RuntimeRule
		want     string
	}{
		"rules": {
			options: Options{RuntimeRules: 10}, section: model.SectionFiles, fit: many(10, path), not: many(11, path),
			want: "rtp/shop/p: 11 runtime rules of one container are needed (one container), at most 10 fit: narrow the subject, or merge rules",
		},
		"from": {
			section: model.SectionPrivileges,
			fit:     []model.RuntimeRule{{Name: "r", From: nums(32)}, {Name: "s", From: nums(32)}, {Name: "d", From: nums(32), FromDescendants: true}},
			not:     []model.RuntimeRule{{Name: "r", From: nums(32)}, {Name: "d", From: nums(33), FromDescendants: true}},
			want:    "65 different executables in from of one container's rules are needed",
		},
		"network rules": {
			section: model.SectionNetwork,
			fit:     many(58, func(int) model.RuntimeRule { return model.RuntimeRule{} }), not: many(59, func(int) model.RuntimeRule { return model.RuntimeRule{} }),
			want: "59 network rules of one container are needed (one container), at most 58 fit",
		},
		"one path": {
			section: model.SectionFiles,
			fit:     many(58, func(int) model.RuntimeRule { return denies("", "/etc") }), not: many(59, func(int) model.RuntimeRule { return denies("", "/etc") }),
			want: "59 rules of one container about the same object are needed (files, /etc), at most 58 fit",
		},
		"any object": {
			section: model.SectionExecutables,
			fit:     many(58, func(int) model.RuntimeRule { return denies("") }), not: many(59, func(int) model.RuntimeRule { return denies("") }),
			want: "about the same object are needed (executables, any object)",
		},
		"beginnings of globs": {
			section: model.SectionFiles,
			fit:     many(32, func(i int) model.RuntimeRule { return model.RuntimeRule{Globs: []model.Glob{{Prefix: long(i)}}} }),
			not:     many(33, func(i int) model.RuntimeRule { return model.RuntimeRule{Globs: []model.Glob{{Prefix: long(i)}}} }),
			want:    "33 different lengths of one container's globs are needed (what stands before **)",
		},
		"ends of globs": {
			section: model.SectionFiles,
			fit: many(32, func(i int) model.RuntimeRule {
				return model.RuntimeRule{Globs: []model.Glob{{Prefix: "/", Suffix: long(i)}}}
			}),
			not: many(33, func(i int) model.RuntimeRule {
				return model.RuntimeRule{Globs: []model.Glob{{Prefix: "/", Suffix: long(i)}}}
			}),
			want: "are needed (what stands after **)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := runtimeShop(tc.options)
			c.PutPolicy(processes("p", tc.section, tc.fit...), 1)
			if got := c.Commit().Refused; len(got) > 0 {
				t.Errorf("what fits is refused: %v", got)
			}
			before := c.Digest("n")
			c.PutPolicy(processes("p", tc.section, tc.not...), Candidate)
			got := c.Commit().Refused
			if len(got) != 1 || !strings.Contains(got[0].Error(), tc.want) {
				t.Errorf("refused %v, want %q", got, tc.want)
			}
			if rows := runtimeRows[snapshot.RuntimeRuleRow](t, c); len(rows) > 0 {
				t.Errorf("a candidate that is refused leaves %d rules", len(rows))
			}
			c.PutPolicy(processes("p", tc.section, tc.fit...), 1)
			c.Commit()
			if c.Digest("n") != before {
				t.Error("the spec that fits makes other rows than before")
			}
		})
	}
}

func nums(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("/bin/%03d", i))
	}
	return out
}

// TestRuntimeStandIn: a policy that was in force and does not fit any more closes
// what it has a say in, however many there are.
func TestRuntimeStandIn(t *testing.T) {
	c := runtimeShop(Options{})
	for i := range 70 {
		p := processes(fmt.Sprintf("p%02d", i), model.SectionNetwork, model.RuntimeRule{Name: "r", Action: model.RuntimeDeny})
		p.Runtime.Sections[model.SectionFiles].Isolates = true
		c.PutPolicy(p, Order(i))
	}
	if refused := c.Commit().Refused; len(refused) != 12 || refused[0].Policy.Name != "p58" {
		t.Fatalf("refused %v", refused)
	}
	names := containers(t, c, kindOf(t, c, "uid of a"))
	for what, want := range map[string]int{
		"network/r": 58, "network/(over-capacity)": 1, "files/(over-capacity)": 1, "files/(isolated)": 1, "p58:network/(over-capacity)": 1,
	} {
		if got := strings.Count(names, what); got != want {
			t.Errorf("%s: %d times, want %d: %s", what, got, want, names)
		}
	}
	for _, r := range runtimeRows[snapshot.RuntimeRulesetRow](t, c) {
		if len(r.Rules) != 61 {
			t.Errorf("%d rules", len(r.Rules))
		}
	}
	// When there is room again the policies are in force again.
	for i := range 12 {
		c.DeletePolicy(model.PolicyRef{Kind: model.KindRuntime, Namespace: "shop", Name: fmt.Sprintf("p%02d", i)})
	}
	if refused := c.Commit().Refused; len(refused) != 0 {
		t.Errorf("still refused: %v", refused)
	}
	if names := containers(t, c, kindOf(t, c, "uid of a")); strings.Contains(names, "over-capacity") {
		t.Errorf("a stand-in stays: %s", names)
	}
}

// TestPeersRefusals: what tells peers apart counts as cells, and whoever names
// the peers loses.
func TestPeersRefusals(t *testing.T) {
	c := runtimeShop(Options{CellsPerRuleset: 10})
	c.PutPolicy(processes("old", model.SectionFiles, denies("r", "/x")), 1)
	rule := model.RuntimeRule{Name: "r", Action: model.RuntimeDeny, Peers: []model.Peer{{Kind: model.PeerEntity, Entity: model.EntityWorld}}}
	for i := range 8 {
		rule.Peers = append(rule.Peers, greedy(fmt.Sprint(i), 1).Ingress[0].Peers...)
	}
	c.PutPolicy(processes("new", model.SectionNetwork, rule), 2)
	if refused := policyNames(c.Commit().Refused); refused != "new" {
		t.Errorf("refused %q", refused)
	}
	if got := containers(t, c, kindOf(t, c, "uid of a")); got != "=[new:network/(over-capacity) old:files/r]" {
		t.Errorf("in force: %s", got)
	}
}

func policyNames(list []Refusal) string {
	var names []string
	for _, r := range list {
		names = append(names, r.Policy.Name)
	}
	return strings.Join(names, " ")
}

// TestContainersRefusals: names of containers do not add up without bound, and
// what stands in for those that are too many is about every container.
func TestContainersRefusals(t *testing.T) {
	c := runtimeShop(Options{Containers: 3})
	for i, names := range [][]string{{"a", "b"}, {"b", "c", model.PauseContainer}, {"d"}} {
		p := processes(fmt.Sprintf("p%d", i), model.SectionFiles, denies("r", "/x"))
		p.Runtime.Containers = names
		c.PutPolicy(p, Order(i))
	}
	if refused := policyNames(c.Commit().Refused); refused != "p2" {
		t.Errorf("refused %q", refused)
	}
	const want = "=[p2:files/(over-capacity)] a=[p0:files/r p2:files/(over-capacity)]" +
		" b=[p0:files/r p1:files/r p2:files/(over-capacity)] c=[p1:files/r p2:files/(over-capacity)]" +
		" pause=[p1:files/r p2:files/(over-capacity)]"
	if got := containers(t, c, kindOf(t, c, "uid of a")); got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
}

func TestRuntimePerNode(t *testing.T) {
	c := runtimeShop(Options{RuntimePerNode: 20})
	only := func(name, app string, n int, order Order) {
		p := processes(name, model.SectionExecutables, denies("r", nums(n)...))
		p.Subject.Labels = model.Selector{Requirements: []model.Requirement{{Key: "app", Values: []string{app}}}}
		c.PutPolicy(p, order)
	}
	only("p", "a", 5, 1)
	only("q", "b", 5, 2)
	if refused := c.Commit().Refused; len(refused) > 0 {
		t.Errorf("what fits is refused: %v", refused)
	}
	only("q", "b", 6, 2)
	refused := c.Commit().Refused
	if policyNames(refused) != "q" || !strings.Contains(refused[0].Error(), "22 entries of runtime rules per node are needed (node n), at most 20 fit") {
		t.Errorf("refused %v", refused)
	}
	// A pod that leaves makes room.
	c.DeleteEndpoint(model.EndpointID{Namespace: "shop", Name: "a"})
	if refused := c.Commit().Refused; len(refused) > 0 {
		t.Errorf("with room again: %v", refused)
	}
}
