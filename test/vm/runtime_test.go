package vm

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"palisade.dev/palisade/hack/vm"
	"palisade.dev/palisade/test/vm/inside"
	"palisade.dev/palisade/test/vm/runtime"
)

// runtimeKernels are where runtime policies are enforced, with the tests on each.
var runtimeKernels = []struct {
	version vm.Version
	run     []string
}{
	{"6.1", []string{"TestControls"}},
	{"6.12", []string{"TestControls"}},
}

const runtimeTests = "/bin/runtime.test"

// runtimeMachine is a guest with what containers need.
func runtimeMachine(t *testing.T) vm.Machine {
	t.Helper()
	return vm.Machine{
		Tools: []string{runtime.Runc, runtime.Echo},
		Files: build(t, map[string]program{
			runtimeTests:    {vm.BuildTests, "palisade.dev/palisade/test/vm/runtime"},
			runtime.Attack:  {vm.Build, "palisade.dev/palisade/test/vm/attack"},
			inside.Agent:    {vm.Build, "palisade.dev/palisade/cmd/nodeagent"},
			inside.Palisade: {vm.Build, "palisade.dev/palisade/cmd/palisade"},
		}, map[string]string{runtime.Busybox: "/usr/bin/busybox"}),
	}
}

// TestRuntime: ways around a runtime policy, in containers, on every kernel.
func TestRuntime(t *testing.T) {
	m := runtimeMachine(t)
	for _, k := range runtimeKernels {
		t.Run(string(k.version), func(t *testing.T) {
			told := rowLine.FindAllString(run(t, k.version, k.run, runtimeTests, m), -1)
			for _, line := range told {
				fmt.Printf("kernel %s: %s\n", k.version, strings.TrimSpace(line))
			}
		})
	}
}

var rowLine = regexp.MustCompile(`(?m)^[a-z0-9-]+ control=\S+ policy=.*$`)
