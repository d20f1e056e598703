package runtime

import (
	"maps"
	"slices"
	"testing"

	"palisade.dev/palisade/config/library"
)

// Every policy of the library is tried, once.
func TestLibraryIsWhole(t *testing.T) {
	policies, err := library.Policies()
	if err != nil {
		t.Fatal(err)
	}
	var tried []string
	for _, s := range Library {
		tried = append(tried, s.Policy)
	}
	slices.Sort(tried)
	if shipped := slices.Sorted(maps.Keys(policies)); !slices.Equal(tried, shipped) {
		t.Errorf("tried are %q, shipped %q", tried, shipped)
	}
	text, err := LibraryManifests()
	if err != nil {
		t.Fatal(err)
	}
	if n := compile(t, text).Nodes[Node].Len(); n < len(Library) {
		t.Errorf("%d rows for the node, of %d policies", n, len(Library))
	}
}
