package analysis

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// The rows of one node by hand: pod a/x on node n is denied everything but TCP
// ports 80 to 90 from the block 10.9.0.0/16, and there except from 10.9.1.0/24.
var (
	kindX   = snapshot.NewKindID([]byte("x"))
	kindN   = snapshot.NewKindID([]byte("n"))
	block   = snapshot.NewGroupID([]byte("block"))
	ingress = snapshot.NewRulesetID([]byte("in"))
	egress  = snapshot.NewRulesetID([]byte("out"))
	accept  = snapshot.NewRuleID([]byte("accept"))
	deny    = snapshot.NewRuleID([]byte("deny"))
)

func rows() (own []snapshot.Row, common []snapshot.Row) {
	some := snapshot.ProgramRow{
		Default:  snapshot.Answer{Rule: deny, StagedRule: deny, Deny: true, StagedDeny: true},
		Segments: []snapshot.Segment{{Proto: 6, Lo: 80, Hi: 90, Answer: snapshot.Answer{Rule: accept, StagedRule: deny, Log: true, StagedDeny: true}}},
	}
	some.ID = some.ContentID()
	none := snapshot.ProgramRow{Default: some.Default}
	none.ID = none.ContentID()
	own = []snapshot.Row{
		snapshot.MetaRow{Node: "n"},
		snapshot.RuleRow{ID: accept, Tier: uint8(model.TierNamespace), PolicyKind: uint8(model.KindNetworkPolicy), Namespace: "a", Policy: "p", Rule: "some"},
		snapshot.RuleRow{ID: deny, Tier: uint8(model.TierNamespace), PolicyKind: uint8(model.KindNetworkPolicy), Namespace: "a", Policy: "p", Rule: "(isolated)"},
		some, none,
		snapshot.RulesetRow{ID: ingress, Groups: []snapshot.GroupID{block}},
		snapshot.RulesetRow{ID: egress, Egress: true},
		snapshot.CellRow{Ruleset: ingress, Set: snapshot.SetOf(nil), Program: none.ID},
		snapshot.CellRow{Ruleset: ingress, Set: snapshot.SetOf([]snapshot.GroupID{block}), Program: some.ID},
		snapshot.CellRow{Ruleset: egress, Set: snapshot.SetOf(nil), Program: none.ID},
		snapshot.PartRow{Prefix: netip.MustParsePrefix("10.9.0.0/16"), Groups: []snapshot.GroupID{block}},
		snapshot.PartRow{Prefix: netip.MustParsePrefix("10.9.1.0/24")},
		snapshot.SubjectRow{Kind: kindX, Ingress: ingress, Egress: egress},
		snapshot.LocalRow{UID: "uid-x", Kind: kindX, Namespace: "a", Name: "x"},
	}
	common = []snapshot.Row{
		snapshot.AddressRow{Addr: netip.MustParseAddr("10.0.0.1"), Kind: kindX, UID: "uid-x", Namespace: "a", Name: "x"},
		snapshot.AddressRow{Addr: netip.MustParseAddr("10.0.0.9"), Kind: kindN, Endpoint: uint8(model.EndpointNode), Name: "n"},
	}
	return own, common
}

func set(rows []snapshot.Row) *snapshot.Set {
	s := snapshot.NewSet()
	for _, r := range rows {
		s.Put(snapshot.Encode(r))
	}
	return s
}

func conn(from, to string, proto model.Protocol, port model.Port) model.Connection {
	return model.Connection{From: netip.MustParseAddr(from), To: netip.MustParseAddr(to), Proto: proto, Port: port}
}

func TestTables(t *testing.T) {
	own, common := rows()
	tables, err := FromTables(map[model.NodeName]*snapshot.Set{"n": set(own)}, set(common))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		conn            model.Connection
		egress, ingress string
		staged          string
	}{
		"segment, first port":   {conn("10.9.0.1", "10.0.0.1", 6, 80), "Allow (no-subject)", "Allow some", "Deny (isolated)"},
		"segment, last port":    {conn("10.9.0.1", "10.0.0.1", 6, 90), "Allow (no-subject)", "Allow some", "Deny (isolated)"},
		"before the segment":    {conn("10.9.0.1", "10.0.0.1", 6, 79), "Allow (no-subject)", "Deny (isolated)", "Deny (isolated)"},
		"behind the segment":    {conn("10.9.0.1", "10.0.0.1", 6, 91), "Allow (no-subject)", "Deny (isolated)", "Deny (isolated)"},
		"another protocol":      {conn("10.9.0.1", "10.0.0.1", 17, 80), "Allow (no-subject)", "Deny (isolated)", "Deny (isolated)"},
		"longest prefix counts": {conn("10.9.1.1", "10.0.0.1", 6, 80), "Allow (no-subject)", "Deny (isolated)", "Deny (isolated)"},
		"in no part":            {conn("10.8.0.1", "10.0.0.1", 6, 80), "Allow (no-subject)", "Deny (isolated)", "Deny (isolated)"},
		"itself":                {conn("10.0.0.1", "10.0.0.1", 6, 1), "Allow (self)", "Allow (self)", "Allow (self)"},
		"its own node":          {conn("10.0.0.9", "10.0.0.1", 6, 1), "Allow (no-subject)", "Allow (own-node)", "Allow (own-node)"},
		"to its own node":       {conn("10.0.0.1", "10.0.0.9", 6, 1), "Deny (isolated)", "Allow (no-subject)", "Allow (no-subject)"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := tables.Judge(tc.conn)
			if err != nil {
				t.Fatal(err)
			}
			short := func(d model.Decision) string { return d.Verdict.String() + " " + d.By.Rule }
			if have := short(o.Egress.Enforced); have != tc.egress {
				t.Errorf("egress: %s, want %s", have, tc.egress)
			}
			if have := short(o.Ingress.Enforced); have != tc.ingress {
				t.Errorf("ingress: %s, want %s", have, tc.ingress)
			}
			if have := short(o.Ingress.Staged); have != tc.staged {
				t.Errorf("staged ingress: %s, want %s", have, tc.staged)
			}
		})
	}
	o, err := tables.Judge(conn("10.9.0.1", "10.0.0.1", 6, 80))
	if err != nil {
		t.Fatal(err)
	}
	if want := (model.RuleRef{Tier: model.TierNamespace, Policy: model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: "a", Name: "p"}, Rule: "some"}); o.Ingress.Enforced.By != want {
		t.Errorf("decided by %+v, want %+v", o.Ingress.Enforced.By, want)
	}
	if !o.Ingress.Enforced.Log || o.Ingress.Staged.Log {
		t.Errorf("log: enforced %v, staged %v; want true, false", o.Ingress.Enforced.Log, o.Ingress.Staged.Log)
	}
}

// Rows that lack something give an error that names it, never a verdict.
func TestTablesWithHoles(t *testing.T) {
	question := conn("10.9.0.1", "10.0.0.1", 6, 80)
	for name, tc := range map[string]struct {
		without func(snapshot.Row) bool
		want    string
	}{
		"subject": {func(r snapshot.Row) bool { _, ok := r.(snapshot.SubjectRow); return ok }, "no subject row"},
		"ruleset": {func(r snapshot.Row) bool { _, ok := r.(snapshot.RulesetRow); return ok }, "no ruleset row"},
		"cell":    {func(r snapshot.Row) bool { _, ok := r.(snapshot.CellRow); return ok }, "no cell"},
		"program": {func(r snapshot.Row) bool { _, ok := r.(snapshot.ProgramRow); return ok }, "no program row"},
		"rule":    {func(r snapshot.Row) bool { _, ok := r.(snapshot.RuleRow); return ok }, "no rule row"},
		"local":   {func(r snapshot.Row) bool { _, ok := r.(snapshot.LocalRow); return ok }, "hosts it"},
	} {
		t.Run(name, func(t *testing.T) {
			own, common := rows()
			var kept []snapshot.Row
			for _, r := range own {
				if !tc.without(r) {
					kept = append(kept, r)
				}
			}
			tables, err := FromTables(map[model.NodeName]*snapshot.Set{"n": set(kept)}, set(common))
			if err != nil {
				t.Fatal(err)
			}
			if o, err := tables.Judge(question); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Judge = %v, %v; want an error with %q", o, err, tc.want)
			}
		})
	}
}

func TestFromTablesRefuses(t *testing.T) {
	own, common := rows()
	for name, tc := range map[string]struct {
		nodes  map[model.NodeName]*snapshot.Set
		common *snapshot.Set
	}{
		"another node's rows":        {map[model.NodeName]*snapshot.Set{"m": set(own)}, set(common)},
		"own rows among the common":  {map[model.NodeName]*snapshot.Set{"n": set(own)}, set(own)},
		"common rows among the own":  {map[model.NodeName]*snapshot.Set{"n": set(common)}, set(common)},
		"a pod that two nodes host":  {map[model.NodeName]*snapshot.Set{"n": set(own), "m": set(own[13:])}, set(common)},
		"bytes that are no such row": {map[model.NodeName]*snapshot.Set{"n": snapshot.NewSet(snapshot.Entry{Table: snapshot.TableKind, Key: []byte("short")})}, set(common)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := FromTables(tc.nodes, tc.common); err == nil {
				t.Error("FromTables took it")
			}
		})
	}
}

func TestExplainAndReach(t *testing.T) {
	a := End{"a", []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}}
	b := End{"b", []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}}
	only4 := End{"only4", a.Addresses[:1]}
	only6 := End{"only6", b.Addresses[1:]}
	deny6 := func(conns []model.Connection) ([]model.Outcome, error) {
		out := make([]model.Outcome, len(conns))
		for i, c := range conns {
			if c.Proto == model.ProtoTCP && c.From.Is6() && c.Port == 80 {
				out[i].Egress.Enforced.Verdict = model.Deny
			}
		}
		return out, nil
	}
	explain := func(from, to End, port Port) string {
		answers, err := Explain(deny6, from, to, port)
		if err != nil {
			return err.Error()
		}
		var words []string
		for _, a := range answers {
			words = append(words, a.Family.String()+" "+a.Outcome.Verdict().String())
		}
		return strings.Join(words, ", ")
	}
	for name, tc := range map[string]struct{ have, want string }{
		"families agree":  {explain(a, b, Port{model.ProtoTCP, 81}), "any Allow"},
		"families differ": {explain(a, b, Port{model.ProtoTCP, 80}), "IPv4 Allow, IPv6 Deny"},
		"one in common":   {explain(a, only4, Port{model.ProtoTCP, 80}), "any Allow"},
		"icmp is IPv4":    {explain(a, b, Port{model.ProtoICMP, 8 << 8}), "any Allow"},
	} {
		if tc.have != tc.want {
			t.Errorf("%s: %s, want %s", name, tc.have, tc.want)
		}
	}
	if _, err := Explain(deny6, only4, only6, Port{model.ProtoTCP, 80}); !errors.Is(err, ErrNoConnection) {
		t.Errorf("IPv4 to IPv6: %v, want %v", err, ErrNoConnection)
	}
	answers, err := Reach(deny6, []End{a, only4, only6}, []Port{{model.ProtoTCP, 80}})
	if err != nil {
		t.Fatal(err)
	}
	// a-a twice since its families differ, a-only4, a-only6, only4-a, only4-only4, only6-a, only6-only6.
	if len(answers) != 8 {
		t.Errorf("Reach gave %d answers, want 8: %v", len(answers), answers)
	}
}
