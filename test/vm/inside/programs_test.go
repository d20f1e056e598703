//go:build guest

package inside

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
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

// TestVerdicts: this kernel's verdicts, by test-run, are those that the scenarios of
// the corpus expect. The host says which ones.
func TestVerdicts(t *testing.T) {
	pattern := os.Getenv(ScenariosVariable)
	if pattern == "" {
		t.Fatalf("%s is not set", ScenariosVariable)
	}
	out, err := exec.Command(DatapathTests, "-test.v", "-test.run="+pattern).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
