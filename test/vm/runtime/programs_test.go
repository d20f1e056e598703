//go:build guest

package runtime

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/test/vm/inside"
)

// TestRuntimePrograms: the verifier accepts every program that this kernel has a hook
// for. The host compares the lines that this prints with the ones on record.
func TestRuntimePrograms(t *testing.T) {
	counts, absent, err := inside.VerifiedHooks(bpf.Hooks)
	for _, name := range absent {
		fmt.Printf("program %s: this kernel has no such hook\n", name)
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Println(inside.VerifiedLine(name, counts[name]))
	}
	must(t, err)
}
