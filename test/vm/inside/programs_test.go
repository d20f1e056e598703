//go:build guest

package inside

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"palisade.dev/palisade/bpf"
)

// TestNetworkPrograms: the verifier accepts every program. The host compares the
// lines that this prints with the ones on record.
func TestNetworkPrograms(t *testing.T) {
	counts, err := Verified(bpf.Dispatch, bpf.Verdict, bpf.Trial)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Println(VerifiedLine(name, counts[name]))
	}
}
