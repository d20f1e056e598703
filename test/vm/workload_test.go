package vm

import (
	"maps"
	"testing"

	"palisade.dev/palisade/hack/vm"
	"palisade.dev/palisade/test/vm/runtime"
)

// TestWorkload: policies about external workloads on a host that is one, by palisade
// apply, which refuses kernels without netfilter BPF.
func TestWorkload(t *testing.T) {
	m := runtimeMachine(t)
	maps.Copy(m.Files, build(t, map[string]program{runtime.CLI: {vm.Build, "palisade.dev/palisade/cmd/palisade"}}, map[string]string{}))
	const version = "6.12"
	t.Run(version, func(t *testing.T) {
		tellLines(version, run(t, version, []string{"TestWorkload"}, runtimeTests, m))
	})
}
