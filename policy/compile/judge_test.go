package compile

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// scene is one pod, one peer at 10.0.0.1 and policies about the pod's ingress.
type scene struct {
	policies []model.Policy
}

func (s *scene) admin(name string, priority int32, rules ...model.Rule) *scene {
	return s.clusterwide(model.TierAdmin, name, priority, rules)
}

func (s *scene) baseline(name string, rules ...model.Rule) *scene {
	return s.clusterwide(model.TierBaseline, name, 0, rules)
}

func (s *scene) clusterwide(tier model.Tier, name string, priority int32, rules []model.Rule) *scene {
	s.policies = append(s.policies, model.Policy{
		Ref: model.PolicyRef{Kind: model.KindClusterwide, Name: name}, Tier: tier, Priority: priority, Ingress: rules,
	})
	return s
}

func (s *scene) namespace(name string, isolate bool, rules ...model.Rule) *scene {
	s.policies = append(s.policies, model.Policy{
		Ref: model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: "ns-00000", Name: name}, Tier: model.TierNamespace,
		IsolateIngress: isolate, Ingress: rules, Subject: model.Subject{Namespaces: model.NamespaceMatch{Name: "ns-00000"}},
	})
	return s
}

// audited puts the last policy in mode Audit.
func (s *scene) audited() *scene {
	s.policies[len(s.policies)-1].Mode = model.Audit
	return s
}

// aRule reads "accept tcp 80-90, udp": an action and what it is about.
func aRule(text string) model.Rule {
	action, about, _ := strings.Cut(text, " ")
	r := model.Rule{
		Name: strings.Map(func(c rune) rune {
			if c == ' ' || c == ',' {
				return '_'
			}
			return c
		}, text),
		Action: map[string]model.Action{"accept": model.ActionAccept, "deny": model.ActionDeny, "pass": model.ActionPass}[action],
		Peers:  []model.Peer{{Kind: model.PeerAny}},
	}
	if strings.HasPrefix(about, "strangers ") || about == "strangers" { // a block that the peer is not in
		r.Peers = []model.Peer{{Kind: model.PeerBlock, Block: model.Block{CIDR: netip.MustParsePrefix("192.0.2.0/24")}}}
		about = strings.TrimPrefix(strings.TrimPrefix(about, "strangers"), " ")
	}
	if about == "" {
		r.Ports = []model.PortMatch{{Proto: model.ProtoAny}}
		return r
	}
	for _, one := range strings.Split(about, ", ") {
		name, ports, ranged := strings.Cut(one, " ")
		m := model.PortMatch{Proto: map[string]model.Protocol{"tcp": model.ProtoTCP, "udp": model.ProtoUDP, "icmp": model.ProtoICMP}[name], Hi: 0xffff}
		if ranged {
			if n, _ := fmt.Sscanf(ports, "%d-%d", &m.Lo, &m.Hi); n == 1 {
				m.Hi = m.Lo
			}
		}
		r.Ports = append(r.Ports, m)
	}
	return r
}

// answers prints what the peer meets: the default, then every segment.
func (s *scene) answers(t *testing.T) string {
	t.Helper()
	c := New(Options{})
	c.PutEndpoint(newcomer("n", nil))
	for _, p := range s.policies {
		c.PutPolicy(p, 0)
	}
	c.Commit()
	rows, err := c.Node("n").Rows()
	if err != nil {
		t.Fatal(err)
	}
	rules := map[snapshot.RuleID]string{}
	programs := map[snapshot.ProgramID]snapshot.ProgramRow{}
	var ingress snapshot.RulesetID
	for _, row := range rows {
		switch row := row.(type) {
		case snapshot.RuleRow:
			rules[row.ID] = row.Policy + "/" + row.Rule
		case snapshot.ProgramRow:
			programs[row.ID] = row
		case snapshot.SubjectRow:
			ingress = row.Ingress
		}
	}
	value, ok := c.Node("n").Get(snapshot.KeyOf(snapshot.CellRow{Ruleset: ingress, Set: snapshot.SetOf(nil)}))
	if !ok {
		t.Fatal("no cell for a peer in no group")
	}
	p := programs[snapshot.ProgramID(value)]
	word := func(deny bool, by snapshot.RuleID) string {
		return map[bool]string{false: "Allow ", true: "Deny "}[deny] + rules[by]
	}
	answer := func(a snapshot.Answer) string {
		text := word(a.Deny, a.Rule)
		if a.Deny != a.StagedDeny || a.Rule != a.StagedRule {
			text += " staged " + word(a.StagedDeny, a.StagedRule)
		}
		return text
	}
	out := []string{answer(p.Default)}
	for _, seg := range p.Segments {
		out = append(out, fmt.Sprintf("%d:%d-%d %s", seg.Proto, seg.Lo, seg.Hi, answer(seg.Answer)))
	}
	return strings.Join(out, "; ")
}

func TestPrograms(t *testing.T) {
	const std = "Allow palisade/(default)"
	for name, tc := range map[string]struct {
		scene *scene
		want  string
	}{
		"nothing": {new(scene), std},
		"first rule of the first priority": {
			new(scene).admin("b", 1, aRule("accept tcp 80")).admin("a", 2, aRule("deny tcp 70-90")),
			std + "; 6:70-79 Deny a/deny_tcp_70-90; 6:80-80 Allow b/accept_tcp_80; 6:81-90 Deny a/deny_tcp_70-90",
		},
		"inside a policy the order of its rules": {
			new(scene).admin("a", 1, aRule("accept tcp 80"), aRule("deny tcp")),
			std + "; 6:0-79 Deny a/deny_tcp; 6:80-80 Allow a/accept_tcp_80; 6:81-65535 Deny a/deny_tcp",
		},
		"equal priority: each speaks by its first rule, the strongest decides": {
			new(scene).admin("a", 1, aRule("accept tcp 80"), aRule("deny tcp 80-90")).admin("b", 1, aRule("pass tcp 80-85"), aRule("deny tcp")),
			std + "; 6:0-79 Deny b/deny_tcp; 6:80-80 Allow a/accept_tcp_80; 6:81-90 Deny a/deny_tcp_80-90; 6:91-65535 Deny b/deny_tcp",
		},
		"equal priority and action: the smaller name": {
			new(scene).admin("b", 1, aRule("deny")).admin("a", 1, aRule("deny tcp 1-2"), aRule("deny udp")),
			"Deny b/deny; 6:1-2 Deny a/deny_tcp_1-2; 17:0-65535 Deny a/deny_udp",
		},
		"pass ends the tier": {
			new(scene).admin("a", 1, aRule("pass tcp 80")).admin("b", 2, aRule("deny")).namespace("n", false, aRule("accept tcp")),
			"Deny b/deny; 6:80-80 Allow n/accept_tcp",
		},
		"pass in Baseline is the default": {
			new(scene).baseline("a", aRule("pass tcp 80"), aRule("deny tcp")),
			std + "; 6:0-79 Deny a/deny_tcp; 6:81-65535 Deny a/deny_tcp",
		},
		"any deny before any accept before isolation": {
			new(scene).namespace("a", false, aRule("accept tcp 80-90")).namespace("b", true, aRule("deny tcp 85")),
			"Deny b/(isolated); 6:80-84 Allow a/accept_tcp_80-90; 6:85-85 Deny b/deny_tcp_85; 6:86-90 Allow a/accept_tcp_80-90",
		},
		"isolation by the first that isolates": {
			new(scene).namespace("c", true).namespace("b", true).namespace("a", false, aRule("accept udp")),
			"Deny b/(isolated); 17:0-65535 Allow a/accept_udp",
		},
		"Baseline after the namespace": {
			new(scene).baseline("z", aRule("deny")).namespace("a", false, aRule("accept tcp 443")),
			"Deny z/deny; 6:443-443 Allow a/accept_tcp_443",
		},
		"neighbours with one answer are one": {
			new(scene).admin("a", 1, aRule("deny tcp 10-20, tcp 21-30, tcp 15-25")),
			std + "; 6:10-30 Deny a/deny_tcp_10-20__tcp_21-30__tcp_15-25",
		},
		"the ends of the ports": {
			new(scene).admin("a", 1, aRule("deny tcp 0, tcp 65535")),
			std + "; 6:0-0 Deny a/deny_tcp_0__tcp_65535; 6:65535-65535 Deny a/deny_tcp_0__tcp_65535",
		},
		"what says the same as the default is not said": {
			new(scene).admin("a", 1, aRule("deny tcp 80"), aRule("deny")),
			"Deny a/deny; 6:80-80 Deny a/deny_tcp_80",
		},
		"ICMP by type": {
			new(scene).admin("a", 1, aRule("deny icmp 2048-2303")),
			std + "; 1:2048-2303 Deny a/deny_icmp_2048-2303",
		},
		"who is not in a group does not meet its rules": {
			new(scene).admin("a", 1, aRule("deny strangers")).namespace("n", false, aRule("deny tcp 1")),
			std + "; 6:1-1 Deny n/deny_tcp_1",
		},
		"audit decides nothing and shows what it would": {
			new(scene).namespace("a", true).audited().namespace("b", false, aRule("accept tcp 80")),
			std + " staged Deny a/(isolated); 6:80-80 Allow b/accept_tcp_80",
		},
		"audit beside the enforced": {
			new(scene).admin("a", 1, aRule("pass tcp")).audited().admin("b", 2, aRule("deny tcp 80")).namespace("n", true),
			"Deny n/(isolated); 6:80-80 Deny b/deny_tcp_80 staged Deny n/(isolated)",
		},
		"the first that isolates may be audited": {
			new(scene).namespace("a", true).audited().namespace("b", true),
			"Deny b/(isolated) staged Deny a/(isolated)",
		},
		"an audited policy of equal priority": {
			new(scene).admin("a", 1, aRule("accept tcp 80")).admin("b", 1, aRule("deny tcp")).audited(),
			std + "; 6:0-79 Allow palisade/(default) staged Deny b/deny_tcp; 6:80-80 Allow a/accept_tcp_80 staged Deny b/deny_tcp; 6:81-65535 Allow palisade/(default) staged Deny b/deny_tcp",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.scene.answers(t); got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestManyRulesForOneSet: a peer in as many groups as there are policies costs a
// judgement that grows with the rules, not with their square.
func TestManyRulesForOneSet(t *testing.T) {
	c := Full(ownSelectors(20, 2_000, 2), Options{})
	if n := c.Stats().ProgramsComputed; n > 10 {
		t.Errorf("%d programs computed", n)
	}
	if n := len(c.lenses); n != 1 {
		t.Errorf("%d lists of groups", n)
	}
}
