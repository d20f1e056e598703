package vm

import "testing"

// TestRuntimePrograms: the verifier takes the programs that meet processes on every
// kernel, and what that costs it is on record.
func TestRuntimePrograms(t *testing.T) {
	m := runtimeMachine(t)
	for _, version := range runtimeKernels {
		t.Run(string(version), func(t *testing.T) {
			compare(t, runtimeCounts, version, verified(run(t, version, []string{"TestRuntimePrograms"}, runtimeTests, m)))
		})
	}
}
