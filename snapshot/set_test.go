package snapshot

import (
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// naiveSum adds the lanes one by one.
func naiveSum(entries []Entry) *Sum {
	var lanes [sumBytes / 2]uint16
	for _, e := range entries {
		var x [sumBytes]byte
		expand(&x, e)
		for i := range lanes {
			lanes[i] += uint16(x[2*i]) | uint16(x[2*i+1])<<8
		}
	}
	var out Sum
	for i, l := range lanes {
		out.lanes[i/4] |= uint64(l) << (16 * (i % 4))
	}
	return &out
}

func TestSumAddsLanes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genSet(t)
		if *s.Sum() != *naiveSum(s.Entries()) {
			t.Fatal("the sum is not that of its lanes")
		}
	})
}

func TestSetKeepsItsSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewSet()
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			e := Encode(genRow(t))
			if rapid.Bool().Draw(t, "delete") {
				s.Delete(e.ID())
			} else {
				s.Put(e)
			}
		}
		if fresh := NewSet(s.Entries()...); fresh.Digest() != s.Digest() {
			t.Fatal("the digest depends on how the set came about")
		}
	})
}

func TestDigestTellsSetsApart(t *testing.T) {
	seen := map[Digest]string{NewSet().Digest(): "empty"}
	check := func(name string, s *Set) {
		if other, ok := seen[s.Digest()]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[s.Digest()] = name
	}
	full := sampleSet()
	check("full", full)
	for i, e := range full.Entries() {
		without := full.Clone()
		without.Delete(e.ID())
		check(fmt.Sprintf("without %d", i), without)
		changed := full.Clone()
		changed.Put(Entry{e.Table, e.Key, append([]byte{1}, e.Value...)})
		check(fmt.Sprintf("changed %d", i), changed)
	}
	// The same bytes, cut differently into table, key and value.
	check("one", NewSet(Entry{1, []byte("ab"), []byte("c")}))
	check("two", NewSet(Entry{1, []byte("a"), []byte("bc")}))
	check("three", NewSet(Entry{2, []byte("ab"), []byte("c")}))
}

func TestUnionIsCombine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := genSet(t)
		common, own := NewSet(), NewSet()
		for _, e := range whole.Entries() {
			if e.Table == TableAddress {
				common.Put(e)
			} else {
				own.Put(e)
			}
		}
		if common.Sum().Combine(own.Sum()).Digest() != whole.Digest() || Union(common, own).Digest() != whole.Digest() {
			t.Fatal("the digest of a union is not that of the combined sums")
		}
	})
}

func TestDiffApply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := genSet(t), genSet(t)
		d := Diff(from, to)
		got := from.Clone()
		got.Apply(d)
		if got.Digest() != to.Digest() || got.Len() != to.Len() {
			t.Fatal("from with the delta is not to")
		}
		if !Diff(to, got).Empty() {
			t.Fatal("equal sets differ")
		}
	})
}

func TestThen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genSet(t), genSet(t), genSet(t)
		d := Diff(a, b).Then(Diff(b, c))
		got := a.Clone()
		got.Apply(d)
		if got.Digest() != c.Digest() {
			t.Fatal("the joint delta leads elsewhere")
		}
	})
}

func TestDeltaRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Diff(genSet(t), genSet(t))
		back, err := DecodeDelta(AppendDelta(nil, d))
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(d, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}

func BenchmarkSumAdd(b *testing.B) {
	var s Sum
	e := Encode(sampleRows()[10])
	b.ReportAllocs()
	for b.Loop() {
		s.Add(e)
	}
}
