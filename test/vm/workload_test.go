package vm

import (
	"maps"
	"testing"

	"palisade.dev/palisade/hack/vm"
	"palisade.dev/palisade/test/vm/runtime"
)

// TestWorkload: policies about external workloads on a host that is one, by palisade
// apply. 6.1 judges no packets, and is of use all the same.
func TestWorkload(t *testing.T) {
	m := runtimeMachine(t)
	maps.Copy(m.Files, build(t, map[string]program{runtime.CLI: {vm.Build, "palisade.dev/palisade/cmd/palisade"}}, map[string]string{}))
	for _, version := range runtimeKernels {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			tellLines(version, run(t, version, []string{"TestWorkload"}, runtimeTests, m))
		})
	}
}
