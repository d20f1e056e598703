package layout

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

func generation(n int) snapshot.Generation { return snapshot.Generation{Counter: uint64(n)} }

// expected is what the slow answer looks like in a reader.
func expected(v rowtest.Verdict) verdict {
	a := v.Answer
	return verdict{deny: a.Deny, stagedDeny: a.StagedDeny, rule: a.Rule, stagedRule: a.StagedRule, builtin: v.Builtin}
}

// TestStepsMatchRows goes from one random snapshot to another, by deltas, and
// compares the answers of the image with the slow ones from the rows after each.
func TestStepsMatchRows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := New(Options{Unbound: UnboundAllow})
		have := snapshot.NewSet()
		for step := range rapid.IntRange(1, 4).Draw(rt, "steps") {
			b, all := rowtest.Random(rt)
			next := b.Set()
			u := Update{Generation: generation(step), Delta: snapshot.Diff(have, next)}
			if step == 0 || rapid.Bool().Draw(rt, "full") {
				u.Full, u.Delta = true, b.Full()
			}
			if err := l.Apply(u); err != nil {
				rt.Fatal(err)
			}
			compareAll(t, rt, l, b, all)
			b.Redraw(rt)
			have = b.Set()
			if err := l.Apply(Update{Generation: generation(step), Delta: snapshot.Diff(next, have)}); err != nil {
				rt.Fatal(err)
			}
			compareAll(t, rt, l, b, all)
			if l.im.sum != Sum(l.Lines()) {
				rt.Fatal("the sum is not that of the lines")
			}
		}
	})
}

func compareAll(t *testing.T, rt *rapid.T, l *Layout, b *rowtest.Builder, all map[string][]netip.Addr) {
	r := l.reader(t)
	for _, family := range []string{"4", "6"} {
		for _, from := range all[family] {
			for _, to := range all[family] {
				port := uint16(from.AsSlice()[3]^to.AsSlice()[3]) % 40
				egress, ingress := r.judge(from, to, 6, port)
				wantEgress, wantIngress := b.Judge(from, to, 6, port)
				if egress != expected(wantEgress) || ingress != expected(wantIngress) {
					rt.Fatalf("%s to %s port %d: %+v %+v, want %+v %+v", from, to, port, egress, ingress, expected(wantEgress), expected(wantIngress))
				}
			}
		}
	}
}

// simple is a node with two kinds, one of which accepts the other.
func simple(remotes int) *rowtest.Builder {
	b := rowtest.New("node", "10.1.0.0/24")
	open := b.Program(b.Allow("open"))
	shut := b.Program(b.Deny("isolated"))
	in := b.Ruleset("in", false, []string{"web"}, func(in func(string) bool) snapshot.ProgramID {
		if in("web") {
			return open
		}
		return shut
	})
	out := b.Ruleset("out", true, nil, func(func(string) bool) snapshot.ProgramID { return open })
	b.Kind("web", "web")
	b.Kind("db")
	b.Subject("db", in, out)
	b.Subject("web", out, out)
	b.Local("uid-db", "db")
	b.Address("10.1.0.2", "db", "uid-db")
	for i := range remotes {
		b.Address(fmt.Sprintf("10.%d.%d.%d", 2+i>>16, i>>8&255, i&255), "web", fmt.Sprintf("uid-r%d", i))
	}
	return b
}

// TestWritesPerPod is promise P8: a pod of a known kind costs as many lines in a
// cluster of ten pods as in one of 100,000, on the node that hosts it and on others.
func TestWritesPerPod(t *testing.T) {
	cases := map[string]struct {
		change func(b *rowtest.Builder)
		facts  []Binding
	}{
		"remote": {change: func(b *rowtest.Builder) {
			b.Address("10.200.0.1", "web", "uid-new")
			b.Address("fd00::1", "web", "uid-new")
		}},
		"local": {change: func(b *rowtest.Builder) {
			b.Local("uid-new", "web")
			b.Address("10.1.0.9", "web", "uid-new")
			b.Address("fd00::9", "web", "uid-new")
		}},
		"local with its interface": {change: func(b *rowtest.Builder) {
			b.Local("uid-new", "web")
		}, facts: []Binding{{netip.MustParseAddr("10.1.0.9"), "uid-new", 7}, {netip.MustParseAddr("fd00::9"), "uid-new", 7}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			counts := map[int][2]int{}
			few, more := simple(1), simple(1)
			c.change(more)
			add, del := snapshot.Diff(few.Set(), more.Set()), snapshot.Diff(more.Set(), few.Set())
			for _, pods := range []int{10, 1000, 100_000} {
				before := simple(pods)
				l := New(Options{})
				if err := l.Apply(Update{Full: true, Delta: before.Full(), Facts: []Binding{}}); err != nil {
					t.Fatal(err)
				}
				counts[pods] = [2]int{
					writes(t, l, Update{Generation: generation(1), Delta: add, Facts: c.facts}),
					writes(t, l, Update{Generation: generation(2), Delta: del, Facts: []Binding{}}),
				}
			}
			t.Logf("lines per side, added and removed, by pods in the cluster: %v", counts)
			for pods, n := range counts {
				if n != counts[10] {
					t.Errorf("%d pods: %v lines, with 10 pods %v", pods, n, counts[10])
				}
				if n[0] > 8 || n[1] > 8 {
					t.Errorf("%d pods: %v lines", pods, n)
				}
			}
		})
	}
}

// writes applies an update and counts the lines that a side must be told of.
func writes(t *testing.T, l *Layout, u Update) int {
	t.Helper()
	l.Synced(0)
	l.Synced(1)
	if err := l.Apply(u); err != nil {
		t.Fatal(err)
	}
	lines, whole := l.Pending(0)
	other, wholeToo := l.Pending(1)
	if whole || wholeToo {
		t.Fatal("the image was rebuilt")
	}
	if !slices.Equal(lines, other) {
		t.Fatalf("sides differ: %v and %v", lines, other)
	}
	return len(lines)
}

func without(d snapshot.Delta, drop func(snapshot.Row) bool) snapshot.Delta {
	var out snapshot.Delta
	for _, e := range d.Upserts {
		row, err := snapshot.Decode(e)
		if err != nil || drop(row) {
			continue
		}
		out.Upserts = append(out.Upserts, e)
	}
	return out
}

// TestRefusals: what cannot be laid out is refused by name, and what was stays.
func TestRefusals(t *testing.T) {
	crowd := func(n int) snapshot.Delta {
		b := simple(1)
		for i := range n {
			b.Rule(fmt.Sprintf("rule-%d", i))
		}
		return b.Full()
	}
	cases := map[string]struct {
		options Options
		delta   snapshot.Delta
		err     error
		names   string
	}{
		"a set of groups without a cell": {
			delta: without(simple(1).Full(), func(r snapshot.Row) bool {
				c, ok := r.(snapshot.CellRow)
				return ok && c.Set != snapshot.SetOf(nil)
			}),
			err: ErrIncomplete, names: fmt.Sprintf("ruleset %x", snapshot.NewRulesetID([]byte("in"))),
		},
		"a rule set that a subject names": {
			delta: without(simple(1).Full(), func(r snapshot.Row) bool { _, ok := r.(snapshot.RulesetRow); return ok }),
			err:   ErrIncomplete, names: "a subject refers to it",
		},
		"a program that a cell names": {
			delta: without(simple(1).Full(), func(r snapshot.Row) bool { _, ok := r.(snapshot.ProgramRow); return ok }),
			err:   ErrIncomplete, names: "program",
		},
		"a rule that a program names": {
			delta: without(simple(1).Full(), func(r snapshot.Row) bool { _, ok := r.(snapshot.RuleRow); return ok }),
			err:   ErrIncomplete, names: "rule",
		},
		"a subject": {
			delta: without(simple(1).Full(), func(r snapshot.Row) bool { _, ok := r.(snapshot.SubjectRow); return ok }),
			err:   ErrIncomplete, names: "pod test/uid-db",
		},
		"too many rules": {
			options: Options{MaxRules: 64}, delta: crowd(100), err: ErrCapacity, names: "rules: over capacity: at most 32",
		},
		"too many lines": {
			options: Options{MaxLines: 2000}, delta: simple(100_000).Full(), err: ErrCapacity, names: "addresses",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := New(c.options)
			if err := l.Apply(Update{Full: true, Generation: generation(1), Delta: simple(3).Full()}); err != nil {
				t.Fatal(err)
			}
			before := slices.Clone(l.Lines())
			err := l.Apply(Update{Full: true, Generation: generation(2), Delta: c.delta})
			if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.names) {
				t.Fatalf("error %v, want %v that names %q", err, c.err, c.names)
			}
			if g, _ := l.Generation(); g != generation(1) {
				t.Errorf("generation %s after a refusal", g)
			}
			if !slices.Equal(before, l.Lines()) {
				t.Error("a refused update changed the image")
			}
			if err := l.Apply(Update{Generation: generation(3), Delta: snapshot.Diff(simple(3).Set(), simple(4).Set())}); err != nil {
				t.Errorf("an update after a refusal: %v", err)
			}
		})
	}
}

// TestFacts: who has an address is what the node knows, before what the snapshot says.
func TestFacts(t *testing.T) {
	b := simple(1)
	b.Local("uid-two", "web")
	addr := netip.MustParseAddr("10.1.0.2")
	l := New(Options{})
	owner := func(facts []Binding) (uid string, unbound bool) {
		t.Helper()
		u := Update{Facts: facts}
		if !l.Ready() {
			u.Full, u.Delta = true, b.Full()
		}
		if err := l.Apply(u); err != nil {
			t.Fatal(err)
		}
		value := l.reader(t).peer(addr)
		if value&bpf.PeerLocal == 0 {
			return "", value&bpf.PeerUnbound != 0
		}
		local, _ := l.Slot(value & bpf.PeerNumber)
		return local.UID, false
	}
	steps := []struct {
		what    string
		facts   []Binding
		uid     string
		unbound bool
	}{
		{"the snapshot's", []Binding{}, "uid-db", false},
		{"passed on", []Binding{{addr, "uid-two", 9}}, "uid-two", false},
		{"a pod that no snapshot knows", []Binding{{addr, "uid-unknown", 9}}, "", true},
		{"left as it is", nil, "", true},
		{"the snapshot's again", []Binding{}, "uid-db", false},
	}
	for _, s := range steps {
		if uid, unbound := owner(s.facts); uid != s.uid || unbound != s.unbound {
			t.Errorf("%s: pod %q, unbound %v; want %q, %v", s.what, uid, unbound, s.uid, s.unbound)
		}
	}
}

// TestUnboundFlags: what is denied of addresses that nobody has.
func TestUnboundFlags(t *testing.T) {
	const both = bpf.SideDenyUnboundEgress | bpf.SideDenyUnboundIngress
	stranger := []Binding{{Addr: netip.MustParseAddr("10.1.0.99"), UID: "uid-stranger", Ifindex: 99}}
	cases := map[string]struct {
		mode   Unbound
		placed bool
		facts  []Binding
		want   uint32
	}{
		"auto, everybody has an address": {mode: UnboundAuto, placed: true},
		"auto, an isolated pod has none": {mode: UnboundAuto, want: bpf.SideDenyUnboundIngress},
		"auto, a pod that nobody knows":  {UnboundAuto, true, stranger, bpf.SideDenyUnboundIngress},
		"deny":                           {mode: UnboundDeny, placed: true, want: both},
		"allow":                          {mode: UnboundAllow, facts: stranger},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := simple(1)
			if !c.placed {
				b.Local("uid-late", "db")
			}
			l := New(Options{Unbound: c.mode})
			if err := l.Apply(Update{Full: true, Delta: b.Full(), Facts: c.facts}); err != nil {
				t.Fatal(err)
			}
			if got := l.reader(t).header().Flags & both; got != c.want {
				t.Errorf("flags %b, want %b", got, c.want)
			}
		})
	}
}

// TestRuleSlotsOutliveAgents: a new layout gives rules the slots of its predecessor,
// and a slot serves another rule only when it was released.
func TestRuleSlotsOutliveAgents(t *testing.T) {
	first := New(Options{})
	if err := first.Apply(Update{Full: true, Delta: simple(1).Full()}); err != nil {
		t.Fatal(err)
	}
	second := New(Options{})
	second.AdoptRules(RulesOf(first.Lines()))
	b := simple(1)
	b.Rule("aaa") // sorts elsewhere
	if err := second.Apply(Update{Full: true, Delta: b.Full()}); err != nil {
		t.Fatal(err)
	}
	for slot, id := range ruleNames(first.Lines()) {
		if got := ruleNames(second.Lines())[slot]; got != id {
			t.Errorf("slot %d: rule %x, want %x", slot, got, id)
		}
	}
	gone := second.n.rules.byID[snapshot.NewRuleID([]byte("aaa"))]
	if err := second.Apply(Update{Delta: snapshot.Diff(b.Set(), simple(1).Set())}); err != nil {
		t.Fatal(err)
	}
	if got := second.Leaving(); !slices.Equal(got, []bpf.RuleSlot{gone}) {
		t.Fatalf("leaving %v, want %v", got, gone)
	}
	if row, ok := second.Rule(gone); !ok || row.Rule != "aaa" {
		t.Errorf("late events of slot %d: %+v", gone, row)
	}
	c := simple(1)
	c.Rule("bbb")
	if err := second.Apply(Update{Delta: snapshot.Diff(simple(1).Set(), c.Set())}); err != nil {
		t.Fatal(err)
	}
	if second.n.rules.byID[snapshot.NewRuleID([]byte("bbb"))] == gone {
		t.Error("a slot was given again before it was released")
	}
}

// TestCrowdedBuckets fills tables until they must be rebuilt, and loses nobody.
func TestCrowdedBuckets(t *testing.T) {
	b := simple(1)
	l := New(Options{})
	have := b.Set()
	if err := l.Apply(Update{Full: true, Delta: b.Full()}); err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		for i := range 200 {
			n := round*200 + i
			b.Address(fmt.Sprintf("10.%d.%d.7", 50+n>>8, n&255), "web", fmt.Sprintf("uid-%d", n))
			b.Address(fmt.Sprintf("fd00:9::%x", n), "web", fmt.Sprintf("uid-%d", n))
		}
		next := b.Set()
		if err := l.Apply(Update{Delta: snapshot.Diff(have, next)}); err != nil {
			t.Fatal(err)
		}
		have = next
		r := l.reader(t)
		for _, a := range b.Holders() {
			if v := r.peer(a); v&bpf.PeerLocal == 0 && r.class(v) != l.n.combos[combo{kind: rowtest.KindOf("web")}] {
				t.Fatalf("round %d: %s: value %x", round, a, v)
			}
		}
	}
}

// TestSameImage: equal calls give equal images, whatever the order of maps.
func TestSameImage(t *testing.T) {
	var first []bpf.Line
	for range 5 {
		l := New(Options{})
		if err := l.Apply(Update{Full: true, Delta: simple(2000).Full(), Facts: []Binding{
			{netip.MustParseAddr("10.1.0.2"), "uid-db", 4}, {netip.MustParseAddr("fd00::2"), "uid-db", 4},
		}}); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = slices.Clone(l.Lines())
		}
		if !slices.Equal(first, l.Lines()) {
			t.Fatal("images differ")
		}
	}
}

// TestUndo: an update that was taken back leaves the answers and the name of the one
// before, and the next delta starts from that.
func TestUndo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := New(Options{Unbound: UnboundAllow})
		first, firstAll := rowtest.Random(rt)
		second, secondAll := rowtest.Random(rt)
		l.Undo() // nothing to take back
		whole := Update{Generation: generation(1), Full: true, Delta: first.Full()}
		if err := l.Apply(whole); err != nil {
			rt.Fatal(err)
		}
		if rapid.Bool().Draw(rt, "first") {
			if l.Undo(); l.Ready() {
				rt.Fatal("ready, although the first update was taken back")
			}
			if err := l.Apply(whole); err != nil {
				rt.Fatal(err)
			}
		}
		l.Keep()
		l.Undo() // what is in force stays
		u := Update{Generation: generation(2), Delta: snapshot.Diff(first.Set(), second.Set())}
		if rapid.Bool().Draw(rt, "full") {
			u.Full, u.Delta = true, second.Full()
		}
		if err := l.Apply(u); err != nil {
			rt.Fatal(err)
		}
		l.Undo()
		if g, _ := l.Generation(); g != generation(1) || l.Line(0) == (bpf.Line{}) {
			rt.Fatalf("generation %s after an update that was taken back", g)
		}
		compareAll(t, rt, l, first, firstAll)
		for side := range 2 {
			if _, whole := l.Pending(side); !whole {
				rt.Fatalf("side %d is taken for one that has the image made anew", side)
			}
		}
		if err := l.Apply(Update{Generation: generation(2), Delta: snapshot.Diff(first.Set(), second.Set())}); err != nil {
			rt.Fatal(err)
		}
		compareAll(t, rt, l, second, secondAll)
	})
}
