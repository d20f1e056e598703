package snapshot

import "testing"

// TestPutBlock puts a block into sets that hold none, some and all of it.
func TestPutBlock(t *testing.T) {
	e := func(key, value string) Entry { return Entry{TableCell, []byte(key), []byte(value)} }
	block := NewBlock(e("a", "1"), e("b", "2"))
	for name, before := range map[string][]Entry{
		"nothing":        nil,
		"another":        {e("c", "3")},
		"one of them":    {e("b", "2")},
		"one, different": {e("b", "7"), e("c", "3")},
		"all":            {e("a", "1"), e("b", "2")},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := NewSet(before...), NewSet(before...)
			got.Sum() // from here on it accounts for changes
			got.PutBlock(block)
			want.Put(e("a", "1"))
			want.Put(e("b", "2"))
			if d := Diff(got, want); !d.Empty() || got.Digest() != want.Digest() {
				t.Errorf("differs from putting each: %+v, digests %s and %s", d, got.Digest(), want.Digest())
			}
		})
	}
}

// TestSumWheneverItIsAsked compares sets that were asked for their sum before,
// between and after their changes.
func TestSumWheneverItIsAsked(t *testing.T) {
	const n = 25_000 // enough for several parts
	key := func(i int) []byte { return []byte{byte(i >> 16), byte(i >> 8), byte(i)} }
	change := func(s *Set, ask ...int) Digest {
		for i := range n {
			s.Put(Entry{TableCell, key(i), key(i)})
			if len(ask) > 0 && i == ask[0] {
				s.Sum()
			}
		}
		for i := 0; i < n; i += 2 {
			s.Delete(EntryKey{TableCell, string(key(i))})
			s.Put(Entry{TableCell, key(i + 1), key(i)})
		}
		return s.Digest()
	}
	late := change(NewSet())
	if early := change(NewSet(), 0); early != late {
		t.Errorf("asked at once %s, at the end %s", early, late)
	}
	if between := change(NewSet(), n/2); between != late {
		t.Errorf("asked between %s, at the end %s", between, late)
	}
	s := NewSet()
	change(s)
	if c := s.Clone(); c.Digest() != late {
		t.Errorf("a copy's %s, the original's %s", c.Digest(), late)
	}
	if u := Union(s, NewSet(Entry{TableKind, key(1), nil})); u.Delete(EntryKey{TableKind, string(key(1))}) && u.Digest() != late {
		t.Errorf("a union less one of its sets %s, the other one %s", u.Digest(), late)
	}
}
