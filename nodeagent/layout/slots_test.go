package layout

import (
	"fmt"
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// TestRoomForRules: what a compiler may send fits, also where it replaces every rule of
// before, whose slots are kept until their counters are read.
func TestRoomForRules(t *testing.T) {
	ofSimple := len(rulesOf(t, simple(1).Full()))
	full := func(series string, n int) snapshot.Delta {
		b := simple(1)
		for i := range n - ofSimple {
			b.Rule(fmt.Sprintf("%s-%d", series, i))
		}
		return b.Full()
	}
	l := New(Options{})
	for i, series := range []string{"old", "new"} {
		if err := l.Apply(Update{Full: true, Generation: generation(i + 1), Delta: full(series, snapshot.MaxRulesPerNode)}); err != nil {
			t.Fatalf("%d rules %q: %v", snapshot.MaxRulesPerNode, series, err)
		}
		l.Released()
	}
	if room := DefaultMaxRules - int(bpf.RuleFirst); room < 2*snapshot.MaxRulesPerNode {
		t.Errorf("room for %d rules, of which a node may be sent %d", room, snapshot.MaxRulesPerNode)
	}
}

func rulesOf(t *testing.T, d snapshot.Delta) (out []snapshot.RuleRow) {
	t.Helper()
	for _, e := range d.Upserts {
		row, err := snapshot.Decode(e)
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := row.(snapshot.RuleRow); ok {
			out = append(out, r)
		}
	}
	return out
}
