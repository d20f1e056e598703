package layout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

// compareRuntime asks the image about many operations and compares with the rows.
func compareRuntime(t *testing.T, rt *rapid.T, l *Layout, b *rowtest.Runtime, paths []string) {
	t.Helper()
	r := l.runtimeReader(t)
	for range 60 {
		uid := rapid.SampledFrom(b.Pods()).Draw(rt, "pod")
		container, op := rowtest.RandomContainer(rt), rowtest.RandomOperation(rt, paths)
		want, known, rules := b.Judge(uid, container, op)
		got, gotKnown, gotRules := r.judge(uid, container, op)
		if known != gotKnown || rules != gotRules {
			rt.Fatalf("pod %s, container %s: known %v, rules %v; want %v, %v", uid, container, gotKnown, gotRules, known, rules)
		}
		if !rules {
			continue
		}
		if container == rowtest.Pending {
			// Of several rule sets that say the same, any may be named.
			want.Enforced.Rule, want.Staged.Rule = got.Enforced.Rule, got.Staged.Rule
		}
		if got != want {
			rt.Fatalf("pod %s, container %s: %+v: got %+v, want %+v", uid, container, op, got, want)
		}
	}
	compareRates(rt, l, b)
	if l.im.sum != Sum(l.Lines()) {
		rt.Fatal("the sum is not that of the lines")
	}
}

// compareRates looks at every slot: it has its rule's rate, and a free one has none.
func compareRates(rt *rapid.T, l *Layout, b *rowtest.Runtime) {
	lines, want := l.Lines(), map[bpf.RuleSlot]uint32{}
	for _, row := range b.Rows() {
		if r, ok := row.(snapshot.RuntimeRuleRow); ok {
			want[l.n.rules.byID[r.ID]] = r.RateLimit
		}
	}
	base := lines[lines[1].Edges().Reserved[0]].RuntimeHeader().RateBase
	for slot := range bpf.RuleFirst + bpf.RuleSlot(len(l.n.rules.ids)) {
		if got := lines[base+uint32(slot)/16].RuntimeRates().Rate[slot%16]; got != want[slot] {
			rt.Fatalf("slot %d: %d events a second, want %d", slot, got, want[slot])
		}
	}
}

// TestRuntimeStepsMatchRows goes from one random node to another, by deltas, some of
// which are taken back, and compares the image's answers with those of the rows.
func TestRuntimeStepsMatchRows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := New(Options{Unbound: UnboundAllow})
		b, paths := rowtest.RandomRuntime(rt)
		if err := l.Apply(Update{Full: true, Delta: b.Full()}); err != nil {
			rt.Fatal(err)
		}
		l.Keep()
		for range rapid.IntRange(0, 5).Draw(rt, "steps") {
			next, more := b, paths
			if rapid.Bool().Draw(rt, "other rules") {
				next = b.Redraw(rt, paths)
			} else {
				next, more = rowtest.RandomRuntime(rt)
			}
			if err := l.Apply(Update{Delta: snapshot.Diff(b.Set(), next.Set())}); err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "undo") {
				l.Undo()
			} else {
				b, paths = next, more
				l.Keep()
			}
			compareRuntime(t, rt, l, b, paths)
		}
		compareRuntime(t, rt, l, b, paths)
	})
}

// node is a kind of pods with so many rules, and one pod.
func node(rules int) *rowtest.Runtime {
	b := rowtest.NewRuntime()
	var ids []snapshot.RuleID
	for i := range rules {
		ids = append(ids, b.Rule(fmt.Sprintf("rule-%d", i), snapshot.RuntimeRuleRow{
			Section: snapshot.SectionFiles, Action: snapshot.RuntimeDeny, Enforced: true, Staged: true,
			Paths: []string{fmt.Sprintf("/srv/data/%d", i)},
		}))
	}
	b.Subject("web", "", b.Ruleset("all", ids...))
	b.Subject("web", "app", b.Ruleset("all", ids...))
	b.Pod(fmt.Sprintf("%032x", 1), "web")
	return b
}

// TestRuntimeWritesPerPod is promise P8: a pod of a known kind costs as many lines with
// ten rules as with 10,000.
func TestRuntimeWritesPerPod(t *testing.T) {
	few, more := node(1), node(1)
	for i := range 8 {
		more.Pod(fmt.Sprintf("%032x", i+2), "web")
	}
	add, del := snapshot.Diff(few.Set(), more.Set()), snapshot.Diff(more.Set(), few.Set())
	for _, rules := range []int{10, 1000, 10_000} {
		l := New(Options{})
		if err := l.Apply(Update{Full: true, Delta: node(rules).Full()}); err != nil {
			t.Fatal(err)
		}
		for _, d := range []snapshot.Delta{add, del} {
			// A line for the row, one for the filter; two of the header's; now and then a row moves.
			if n := writes(t, l, Update{Generation: generation(1), Delta: d}); n > 8*3+2 {
				t.Errorf("%d rules: %d lines for eight pods", rules, n)
			}
		}
	}
}

// TestRuntimeRefusals: what cannot be laid out is refused by name, and what was stays.
func TestRuntimeRefusals(t *testing.T) {
	is := func(table snapshot.Table) func(snapshot.Row) bool {
		return func(r snapshot.Row) bool { return r.Table() == table }
	}
	manyFrom := node(1)
	var from []string
	for i := range 40 {
		from = append(from, fmt.Sprintf("/bin/%d", i))
	}
	one := snapshot.RuntimeRuleRow{Staged: true, From: from}
	other := one
	other.FromDescendants = true
	manyFrom.Subject("web", "", manyFrom.Ruleset("from", manyFrom.Rule("one", one), manyFrom.Rule("other", other)))
	manySets := node(1)
	for i := range 300 {
		name := fmt.Sprintf("set-%d", i)
		manySets.Subject("web", name, manySets.Ruleset(name, snapshot.NewRuleID([]byte("rule-0"))))
	}
	cases := map[string]struct {
		options Options
		delta   snapshot.Delta
		err     error
		names   string
	}{
		"a rule":               {delta: without(node(1).Full(), is(snapshot.TableRuntimeRule)), err: ErrIncomplete, names: "rule"},
		"a rule's name":        {delta: without(node(1).Full(), is(snapshot.TableRule)), err: ErrIncomplete, names: "name of rule"},
		"a rule set":           {delta: without(node(1).Full(), is(snapshot.TableRuntimeRuleset)), err: ErrIncomplete, names: "a subject refers to it"},
		"too many executables": {delta: manyFrom.Full(), err: ErrCapacity, names: "executables in from"},
		"too many rule sets":   {delta: manySets.Full(), err: ErrCapacity, names: "different runtime rulesets"},
		"too many lines":       {options: Options{MaxLines: 1000}, delta: node(5000).Full(), err: ErrCapacity, names: "runtime rows"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := New(c.options)
			if err := l.Apply(Update{Full: true, Generation: generation(1), Delta: node(3).Full()}); err != nil {
				t.Fatal(err)
			}
			before := slices.Clone(l.Lines())
			err := l.Apply(Update{Full: true, Generation: generation(2), Delta: c.delta})
			if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.names) {
				t.Fatalf("error %v, want %v that names %q", err, c.err, c.names)
			}
			if !slices.Equal(before, l.Lines()) {
				t.Error("a refused update changed the image")
			}
			if err := l.Apply(Update{Generation: generation(3), Delta: snapshot.Diff(node(3).Set(), node(4).Set())}); err != nil {
				t.Errorf("an update after a refusal: %v", err)
			}
		})
	}
}

// TestRuntimeSecretOutlivesAgents: a new layout hashes with the words of its
// predecessor, so that what the kernel remembers of executables stays true.
func TestRuntimeSecretOutlivesAgents(t *testing.T) {
	first := New(Options{RuntimeSeed: [32]byte{1}})
	if err := first.Apply(Update{Full: true, Delta: node(3).Full()}); err != nil {
		t.Fatal(err)
	}
	second := New(Options{RuntimeSeed: [32]byte{2}})
	if second.Fingerprint("/bin/sh") == first.Fingerprint("/bin/sh") {
		t.Fatal("two seeds give one fingerprint")
	}
	second.AdoptRuntimeSecret(RuntimeSecretOf(first.Lines()))
	if second.Fingerprint("/bin/sh") != first.Fingerprint("/bin/sh") {
		t.Error("the words were not adopted")
	}
	if got := RuntimeSecretOf(make([]bpf.Line, 10)); got != nil {
		t.Errorf("%d words of a side that has none", len(got))
	}
}

// TestPodKey: how cgroups name a pod does not matter.
func TestPodKey(t *testing.T) {
	want := bpf.Key6{High: 0x0123456789ab4def, Low: 0x8123456789abcdef}
	for _, uid := range []string{
		"01234567-89ab-4def-8123-456789abcdef", "01234567_89ab_4def_8123_456789abcdef", "0123456789ab4def8123456789abcdef",
	} {
		if got := PodKey(uid); got != want {
			t.Errorf("%s: %x, want %x", uid, got, want)
		}
	}
	if PodKey("web-0") == PodKey("web-1") || PodKey(snapshot.RuntimeNodeUID) != (bpf.Key6{}) {
		t.Error("names that are no UIDs have one key, or the node has one")
	}
}
