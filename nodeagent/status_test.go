package nodeagent

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

func enforcing(t *testing.T, b *bench) *wire.Condition {
	t.Helper()
	for _, c := range b.Report().GetConditions() {
		if c.GetType() == wire.ConditionEnforcing {
			return c
		}
	}
	t.Fatal("a report without the condition Enforcing")
	return nil
}

func TestEnforcing(t *testing.T) {
	off := host.Finding{Reason: host.ReasonSysctl, Severity: host.Bypass, What: "IPv6 goes around", Where: "net.bridge.x", Mend: "sysctl -w net.bridge.x=1"}
	tests := map[string]struct {
		do              func(*testing.T, *bench)
		reason, message string // reason empty: the condition holds
	}{
		"nothing yet": {func(*testing.T, *bench) {}, "NoSnapshot", "controller has sent none"},
		"in force":    {func(t *testing.T, b *bench) { b.mustApply(t, full(1, set(node, "a"))) }, "", ""},
		"bypass": {func(t *testing.T, b *bench) {
			b.mustApply(t, full(1, set(node, "a")))
			b.SetFindings([]host.Finding{{Severity: host.Notice}, off})
		}, string(host.ReasonSysctl), "sysctl -w net.bridge.x=1"},
		"mended": {func(t *testing.T, b *bench) {
			b.mustApply(t, full(1, set(node, "a")))
			b.SetFindings([]host.Finding{off})
			b.SetFindings(nil)
		}, "", ""},
		"only a notice": {func(t *testing.T, b *bench) {
			b.mustApply(t, full(1, set(node, "a")))
			b.SetFindings([]host.Finding{{Severity: host.Notice, What: "x"}})
		}, "", ""},
		"pod not found": {func(t *testing.T, b *bench) {
			b.mustApply(t, full(1, set(node, "a")))
			b.status.setMissing([]facts.Missing{{Pod: facts.Pod{Namespace: "shop", Name: "a"}, Reason: "no process"}})
		}, "", ""},
		"pod goes around": {func(t *testing.T, b *bench) {
			b.mustApply(t, full(1, set(node, "a")))
			b.status.setMissing([]facts.Missing{{Pod: facts.Pod{Namespace: "shop", Name: "a"}, Reason: "it is macvlan", Bypass: true}})
		}, string(host.ReasonBypassed), "shop/a: it is macvlan"},
		"facts not applied": {func(t *testing.T, b *bench) {
			b.mustApply(t, full(1, set(node, "a")))
			b.kernel.refuse = errors.New("no room for addresses")
			if err := b.applyFacts(t.Context()); err == nil {
				t.Fatal("taken")
			}
		}, "FactsNotApplied", "no room for addresses"},
		"a refused generation leaves the old one": {func(t *testing.T, b *bench) {
			b.mustApply(t, full(1, set(node, "a")))
			b.kernel.refuse = errors.New("EPERM")
			if err := b.Apply(t.Context(), full(2, set(node, "b"))); err == nil {
				t.Fatal("taken")
			}
		}, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			tc.do(t, b)
			c := enforcing(t, b)
			if c.GetHolds() != (tc.reason == "") || (tc.reason != "" && c.GetReason() != tc.reason) || !strings.Contains(c.GetMessage(), tc.message) {
				t.Errorf("condition %v, want reason %q with %q", c, tc.reason, tc.message)
			}
		})
	}
}

func TestReportCountsOnce(t *testing.T) {
	b := newBench(t)
	b.LostFlows(3)
	b.LostFlows(4)
	if l := b.Report().GetLosses(); len(l) != 1 || l[0].GetCount() != 7 {
		t.Errorf("losses = %v", l)
	}
	if l := b.Report().GetLosses(); len(l) != 0 {
		t.Errorf("losses again = %v", l)
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	c := condition("T", false, "R", strings.Repeat("ä", messageLimit))
	if len(c.GetMessage()) > messageLimit || !strings.HasSuffix(c.GetMessage(), "ä...") {
		t.Errorf("message of %d bytes ends in %q", len(c.GetMessage()), c.GetMessage()[len(c.GetMessage())-6:])
	}
}

// looker finds what it is told to.
type looker struct {
	host  facts.Interface
	asked []facts.Wanted
}

func (l *looker) Find(w []facts.Wanted) (as []facts.Attachment, ms []facts.Missing, err error) {
	l.asked = w
	for _, x := range w {
		if x.Pod.Name == "a" {
			as = append(as, facts.Attachment{AttachmentID: facts.AttachmentID{Container: "netns:1", IfName: "eth0"}, Pod: x.Pod, Addrs: x.Addrs, Host: l.host, Source: facts.FromDiscovery})
		} else {
			ms = append(ms, facts.Missing{Pod: x.Pod, Reason: "no process"})
		}
	}
	return as, ms, nil
}

func TestDiscoverOnce(t *testing.T) {
	lo, err := facts.LinkIndex("lo") // an interface that is there
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	s := set(node, "a", "b", "c")
	b.mustApply(t, full(1, s))
	if _, err := b.facts.Bind(facts.Attachment{
		AttachmentID: facts.AttachmentID{Container: "c1", IfName: "eth0"}, Pod: facts.Pod{UID: "c"},
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.3")}, Host: lo, Source: facts.FromCNI,
	}, facts.Attachment{
		AttachmentID: facts.AttachmentID{Container: "gone", IfName: "eth0"}, Pod: facts.Pod{UID: "b"},
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, Host: facts.Interface{Name: "gone", Index: 1 << 30}, Source: facts.FromCNI,
	}); err != nil {
		t.Fatal(err)
	}
	l := &looker{host: lo}
	missing := b.discoverOnce(l)
	if len(l.asked) != 2 || len(missing) != 1 || missing[0].Pod.Name != "b" {
		t.Errorf("asked for %v, missing %v; want a and b asked (b's interface is gone), b missing", l.asked, missing)
	}
	if bs, _ := b.facts.Bindings(); len(bs) != 2 || bs[0].Pod.Name != "a" {
		t.Errorf("bindings = %v", bs)
	}
}

func TestLasting(t *testing.T) {
	late := map[facts.PodUID]int{}
	m := []facts.Missing{{Pod: facts.Pod{UID: "a"}}}
	for i := 1; i < missingLooks; i++ {
		if got := lasting(m, late); len(got) != 0 {
			t.Fatalf("told after %d looks", i)
		}
	}
	if got := lasting(m, late); len(got) != 1 {
		t.Error("not told though it lasts")
	}
	if lasting(nil, late); len(late) != 0 {
		t.Error("a pod that was found is still counted")
	}
}

func TestCountersAreReportedOnce(t *testing.T) {
	b := newBench(t)
	k := pairKey{rule: snapshot.RuleID{1}}
	b.counted.add(k, 2)
	b.counted.add(k, 3)
	if c := b.Report().GetCounters(); len(c) != 1 || c[0].GetConnections() != 5 || c[0].GetRule()[0] != 1 || len(c[0].GetSubject()) != 16 {
		t.Errorf("counters = %v", c)
	}
	if c := b.Report().GetCounters(); len(c) != 0 {
		t.Errorf("counters again = %v", c)
	}
	for i := range maxPairs + 5 {
		b.counted.add(pairKey{rule: snapshot.RuleID{byte(i), byte(i >> 8)}}, 1)
	}
	r := b.Report()
	if size := proto.Size(r); len(r.GetCounters()) != maxPairs || size > wire.MaxMessage {
		t.Errorf("a full report has %d counters in %d bytes", len(r.GetCounters()), size)
	}
	if l := r.GetLosses(); len(l) != 1 || l[0].GetKind() != "counters" || l[0].GetCount() != 5 {
		t.Errorf("losses = %v", l)
	}
}
