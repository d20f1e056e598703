package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/hack/vm"
	"palisade.dev/palisade/test/vm/inside"
	"palisade.dev/palisade/test/vm/runtime"
)

// runtimeKernels are where runtime policies are enforced.
var runtimeKernels = []vm.Version{"6.1", "6.12"}

const runtimeTests = "/bin/runtime.test"

// runtimeMachine is a guest with what containers need.
func runtimeMachine(t *testing.T) vm.Machine {
	t.Helper()
	return vm.Machine{
		Timeout: 2 * time.Hour, // a full run; go test has a limit of its own
		Memory:  2048,          // fifty containers, and what their file systems hold
		Tools:   []string{runtime.Runc, runtime.Echo},
		Modules: []string{"smc"},
		Env:     []string{runtime.FullVariable + "=" + os.Getenv(runtime.FullVariable)},
		Files: build(t, map[string]program{
			runtimeTests:   {vm.BuildTests, "palisade.dev/palisade/test/vm/runtime"},
			runtime.Attack: {vm.Build, "palisade.dev/palisade/test/vm/attack"},
			inside.Agent:   {vm.Build, "palisade.dev/palisade/cmd/nodeagent"},
		}, map[string]string{runtime.Busybox: "/usr/bin/busybox"}),
	}
}

// TestRuntime: runtime policies in containers, on every kernel, and after a reboot.
func TestRuntime(t *testing.T) {
	m := runtimeMachine(t)
	for _, version := range runtimeKernels {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel() // a machine keeps one processor busy
			m := m
			m.Disk = filepath.Join(t.TempDir(), "disk")
			console := run(t, version, []string{"TestNode", "TestPolicies"}, runtimeTests, m)
			tellLines(version, console)
			results, err := runtime.ParseResults(console)
			if err != nil {
				t.Fatal(err)
			}
			record(t, string(version), results)
			tellLines(version, run(t, version, []string{"TestAfterReboot"}, runtimeTests, m))
		})
	}
}

// TestBackends: every type of rule with every action, by the means that are there besides
// the best one. A normal run takes one means on each kernel.
func TestBackends(t *testing.T) {
	ran := 0
	for i, version := range runtimeKernels {
		for j, backend := range []string{"fmod_ret", "signal"} {
			if i == j && os.Getenv(runtime.FullVariable) == "" {
				continue
			}
			ran++
			t.Run(string(version)+"/"+backend, func(t *testing.T) {
				t.Parallel()
				m := runtimeMachine(t)
				m.Env = append(m.Env, runtime.BackendVariable+"="+backend)
				results, err := runtime.ParseResults(run(t, version, []string{"TestBackends"}, runtimeTests, m))
				if err != nil {
					t.Fatal(err)
				}
				record(t, string(version)+"-"+backend, results)
			})
		}
	}
	fmt.Printf("ran %d of 4 pairs of kernels and other backends\n", ran)
}

// TestRuntimeCost counts what operations cost, against no agent in the same run. It
// starts the agent four times, which takes minutes under emulation.
func TestRuntimeCost(t *testing.T) {
	if os.Getenv(runtime.FullVariable) == "" {
		t.Skipf("ran 0 of 5 measurements of cost: %s=1 runs them", runtime.FullVariable)
	}
	for _, version := range runtimeKernels {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			m := runtimeMachine(t)
			m.CountInstructions = true
			tellLines(version, run(t, version, []string{"TestCost"}, runtimeTests, m))
		})
	}
}

// toldLine matches what tests inside print for whoever reads along.
var toldLine = regexp.MustCompile(`(?m)^([a-z0-9-]+ control=\S+ policy=|start race: |swaps: |reboot: |records: |proposed: |naming: |cost ).*$`)

func tellLines(version vm.Version, console string) {
	for _, line := range toldLine.FindAllString(strings.ReplaceAll(console, "\r", ""), -1) {
		fmt.Printf("kernel %s: %s\n", version, line)
	}
}

func resultsOf(name string) string {
	return filepath.Join("testdata", "runtime-results-"+name+".jsonl")
}

// record holds results against those on record, which the documents are made of.
func record(t *testing.T, name string, results []runtime.Result) {
	t.Helper()
	var lines []string
	for _, r := range results {
		line, err := r.Line()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimPrefix(line, runtime.ResultMark)+"\n")
	}
	if *update {
		if err := os.WriteFile(resultsOf(name), []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(resultsOf(name))
	if errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: nothing on record; go test ./test/vm -run %s -update", name, t.Name())
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	on := slices.Collect(strings.Lines(string(data)))
	for _, line := range on {
		if !slices.Contains(lines, line) {
			t.Errorf("%s: on record, but not so in this run: %s", name, line)
		}
	}
	for _, line := range lines {
		if !slices.Contains(on, line) {
			t.Errorf("%s: not on record (go test ./test/vm -run %s -update): %s", name, t.Name(), line)
		}
	}
}
