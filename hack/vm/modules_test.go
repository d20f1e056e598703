package vm

import (
	"path/filepath"
	"slices"
	"testing"
)

// A module comes after what it depends on, once, and what is built in not at all.
func TestModules(t *testing.T) {
	k, err := Find(t.Context(), "6.12")
	if err != nil {
		t.Fatal(err)
	}
	files, err := k.modules([]string{"br_netfilter", "virtio_pci", "bridge", "sctp"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, moduleName(filepath.Base(f)))
	}
	for _, order := range [][2]string{{"stp", "bridge"}, {"bridge", "br_netfilter"}, {"libcrc32c", "sctp"}} {
		first, second := slices.Index(names, order[0]), slices.Index(names, order[1])
		if first < 0 || second < 0 || first > second {
			t.Errorf("%s and %s are at %d and %d of %v", order[0], order[1], first, second, names)
		}
	}
	if slices.Contains(names, "virtio_pci") {
		t.Errorf("virtio_pci is built in, and yet in %v", names)
	}
	if slices.Sort(names); len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("one is there twice: %v", names)
	}
	if _, err := k.modules([]string{"no_such_module"}); err == nil {
		t.Error("found a module that there is not")
	}
}
