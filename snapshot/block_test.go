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
			got.PutBlock(block)
			want.Put(e("a", "1"))
			want.Put(e("b", "2"))
			if d := Diff(got, want); !d.Empty() || got.Digest() != want.Digest() {
				t.Errorf("differs from putting each: %+v, digests %s and %s", d, got.Digest(), want.Digest())
			}
		})
	}
}
