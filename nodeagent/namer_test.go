package nodeagent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/snapshot"
)

func attributed(deny, log bool, builtin string, row snapshot.RuleRow) datapath.Attribution {
	return datapath.Attribution{Decision: datapath.Decision{Deny: deny, Log: log, Rule: row.ID, Builtin: builtin}, Row: row}
}

func judged(enforced, staged datapath.Attribution) datapath.Judged {
	return datapath.Judged{Enforced: enforced, Staged: staged}
}

// What a record says about an event: verdict, direction, who decided, staged, both ends.
func TestFlowOf(t *testing.T) {
	b := newBench(t)
	old := snapshot.RuleRow{ID: snapshot.RuleID{7}, Tier: 1, PolicyKind: 1, Policy: "gone", Rule: "old"}
	with := set(node, "a", "b")
	with.Put(snapshot.Encode(old))
	b.mustApply(t, full(1, with))
	b.mustApply(t, full(2, set(node, "a", "b")))
	if _, err := b.facts.Bind(facts.Attachment{
		AttachmentID: facts.AttachmentID{Container: "c", IfName: "eth0"}, Pod: facts.Pod{UID: "n", Namespace: "shop", Name: "new"},
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, Host: facts.Interface{Name: "v", Index: 1 << 30}, Source: facts.FromCNI,
	}); err != nil {
		t.Fatal(err)
	}
	db := snapshot.RuleRow{ID: snapshot.RuleID{1}, Tier: 2, PolicyKind: 2, Namespace: "shop", Policy: "db", Rule: "(isolated)"}
	audit := snapshot.RuleRow{ID: snapshot.RuleID{2}, Tier: 2, PolicyKind: 2, Namespace: "shop", Policy: "trial", Rule: "x"}
	free := attributed(false, false, "(no-subject)", snapshot.RuleRow{})
	deny, wouldDeny := attributed(true, false, "", db), attributed(true, false, "", audit)
	gone := datapath.Attribution{Decision: datapath.Decision{Deny: true, Rule: old.ID}}
	logged := attributed(false, true, "", db)
	open := judged(free, free)
	tests := map[string]struct {
		protocol        uint8
		egress, ingress datapath.Judged
		want            string
	}{
		"denied by ingress":        {6, open, judged(deny, deny), "Deny Ingress Namespace pnp/shop/db (isolated)"},
		"denied by egress":         {6, judged(deny, deny), open, "Deny Egress Namespace pnp/shop/db (isolated)"},
		"denied by both":           {6, judged(deny, deny), judged(wouldDeny, wouldDeny), "Deny Egress Namespace pnp/shop/db (isolated)"},
		"logged by ingress":        {6, open, judged(logged, logged), "Allow Ingress Namespace pnp/shop/db (isolated)"},
		"audit would deny":         {6, open, judged(free, wouldDeny), "Allow Ingress Builtin builtin/palisade (no-subject) staged Deny pnp/shop/trial"},
		"audit would allow":        {6, open, judged(deny, logged), "Deny Ingress Namespace pnp/shop/db (isolated) staged Allow pnp/shop/db"},
		"a rule that is gone":      {6, open, judged(gone, deny), "Deny Ingress Admin cwp/gone old"},
		"spoofed":                  {17, judged(attributed(true, false, "(spoofed)", snapshot.RuleRow{}), deny), open, "Deny Egress Builtin builtin/palisade (spoofed)"},
		"an ICMP exchange":         {1, open, judged(deny, deny), "Deny Ingress Namespace pnp/shop/db (isolated) type 8 code 3"},
		"a protocol without ports": {47, open, judged(deny, deny), "Deny Ingress Namespace pnp/shop/db (isolated)"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e := datapath.Event{
				Time: time.Unix(1, 0), Generation: snapshot.Generation{Term: 1, Counter: 2}, Protocol: tc.protocol,
				Denied: tc.egress.Enforced.Deny || tc.ingress.Enforced.Deny, State: datapath.StateNew,
				Client: netip.MustParseAddrPort("10.0.0.1:40000"), Server: netip.MustParseAddrPort("10.0.0.2:2051"), // 8<<8|3
				Egress: tc.egress, Ingress: tc.ingress, Interface: 1 << 29,
			}
			f := newNamer(b.holding, b.facts.Bindings).flow(e)
			if f.Type != flows.TypeFlow {
				t.Errorf("type %q", f.Type)
			}
			got := fmt.Sprintf("%s %s %s %s %s", f.Verdict, f.Direction, f.Tier, f.Policy, f.Rule)
			if f.Staged != nil {
				got += fmt.Sprintf(" staged %s %s", f.Staged.Verdict, f.Staged.Policy)
			}
			if f.ICMP != nil {
				got += fmt.Sprintf(" type %d code %d", f.ICMP.Type, f.ICMP.Code)
			}
			if got != tc.want {
				t.Errorf("record: %s\n  want: %s", got, tc.want)
			}
			ports := tc.protocol == 6 || tc.protocol == 17
			if (f.To.Port == 2051) != ports || f.Generation != "0.1.2" || f.Interface != "#536870912" || f.State != "new" {
				t.Errorf("record %+v", f)
			}
			if f.From.String() != "shop/a" || f.From.Kind != "pod" || f.To.String() != "shop/new" {
				t.Errorf("ends %s, %s; the node's own fact goes before the snapshot's", f.From, f.To)
			}
		})
	}
	world := newNamer(b.holding, b.facts.Bindings).end(netip.MustParseAddrPort("192.0.2.9:5"), 6)
	if world != (flows.End{Kind: "world", Addr: netip.MustParseAddr("192.0.2.9"), Port: 5}) {
		t.Errorf("world = %+v", world)
	}
}
