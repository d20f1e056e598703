package vm

import "testing"

// TestRecords: what runtime rules report, how much of it, and without which secrets, on
// every kernel.
func TestRecords(t *testing.T) {
	m := runtimeMachine(t)
	for _, version := range runtimeKernels {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			tellLines(version, run(t, version, []string{"TestRecords"}, runtimeTests, m))
		})
	}
}
