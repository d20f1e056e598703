package vm

import (
	"maps"
	"testing"

	"palisade.dev/palisade/hack/vm"
	"palisade.dev/palisade/test/vm/runtime"
)

// TestProposed: from records to a policy and back, with what the kernel tells, on every
// kernel.
func TestProposed(t *testing.T) {
	m := runtimeMachine(t)
	maps.Copy(m.Files, build(t, map[string]program{runtime.CLI: {vm.Build, "palisade.dev/palisade/cmd/palisade"}}, map[string]string{}))
	for _, version := range runtimeKernels {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			tellLines(version, run(t, version, []string{"TestProposed"}, runtimeTests, m))
		})
	}
}
