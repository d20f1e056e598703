package layout

import (
	"slices"
	"testing"

	"palisade.dev/palisade/snapshot"
)

// FuzzApply feeds deltas of any content: an update is taken or refused, never a
// panic, and a refusal leaves the image as it was.
func FuzzApply(f *testing.F) {
	few, more := simple(1), simple(3)
	more.Part("10.0.0.0/8", "web")
	more.Part("fd00::/16")
	f.Add(snapshot.AppendDelta(nil, few.Full()))
	f.Add(snapshot.AppendDelta(nil, snapshot.Diff(few.Set(), more.Set())))
	f.Add(snapshot.AppendDelta(nil, snapshot.Diff(more.Set(), few.Set())))
	f.Add(snapshot.AppendDelta(nil, node(3).Full()))
	f.Add(snapshot.AppendDelta(nil, snapshot.Diff(node(3).Set(), node(1).Set())))
	f.Add([]byte{})
	start := more.Full()
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := snapshot.DecodeDelta(b)
		if err != nil {
			return
		}
		l := New(Options{MaxLines: 4096, MaxRules: 128})
		if err := l.Apply(Update{Full: true, Delta: start}); err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(l.Lines())
		if err := l.Apply(Update{Generation: generation(1), Delta: d}); err != nil {
			if !slices.Equal(before, l.Lines()) {
				t.Error("a refused update changed the image")
			}
			return
		}
		if l.im.sum != Sum(l.Lines()) {
			t.Error("the sum is not that of the lines")
		}
	})
}
