package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/hack/vm"
	"palisade.dev/palisade/test/corpus"
	"palisade.dev/palisade/test/vm/inside"
)

// kernels are the ones that Palisade is to work on, or to refuse clearly, with the
// tests that make sense on each.
var kernels = []struct {
	version vm.Version
	run     []string
}{
	{"6.1", []string{"TestKernelWithoutNetfilterBPF", "TestRefusal", "TestLSMStopsAnExec"}},
	{"6.12", []string{"TestNetworkPrograms", "TestNetworkPolicy", "TestApply", "TestVerdicts", "TestLSMStopsAnExec"}},
}

// program is one of this module's that a guest gets.
type program struct {
	build func(ctx context.Context, out, pkg string) error
	pkg   string
}

// built are the programs that guests get, by their path there.
var built = map[string]program{
	testProgram:          {vm.BuildTests, "palisade.dev/palisade/test/vm/inside"},
	inside.DatapathTests: {vm.BuildTests, "palisade.dev/palisade/test/datapath"},
	inside.Palisade:      {vm.Build, "palisade.dev/palisade/cmd/palisade"},
	inside.Agent:         {vm.Build, "palisade.dev/palisade/cmd/nodeagent"},
}

const testProgram = "/bin/inside.test"

// build makes programs and adds them to files.
func build(t *testing.T, programs map[string]program, files map[string]string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for path, program := range programs {
		files[path] = filepath.Join(dir, filepath.Base(path))
		if err := program.build(t.Context(), files[path], program.pkg); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// Emulation makes a scenario last a second or more: a normal run takes every some.
const everyScenario = 8

// scenarios is the pattern of those that guests judge.
func scenarios(t *testing.T) string {
	t.Helper()
	all, err := corpus.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	step := everyScenario
	if os.Getenv("PALISADE_FULL") != "" {
		step = 1
	}
	var names []string
	for i, s := range all {
		if i%step == 0 || s.Name == "sctp" {
			names = append(names, s.Name)
		}
	}
	fmt.Printf("ran %d of %d scenarios in the guest's kernel\n", len(names), len(all))
	return "^TestCorpus$/^(" + strings.Join(names, "|") + ")$"
}

func TestKernels(t *testing.T) {
	files, pattern := build(t, built, map[string]string{}), scenarios(t)
	for _, k := range kernels {
		t.Run(string(k.version), func(t *testing.T) {
			console := run(t, k.version, k.run, testProgram, vm.Machine{Files: files, Env: []string{inside.ScenariosVariable + "=" + pattern}})
			if counts := verified(console); len(counts) > 0 {
				compare(t, networkCounts, k.version, counts)
			}
		})
	}
	t.Run("reboot", func(t *testing.T) {
		m := vm.Machine{Files: files, Disk: filepath.Join(t.TempDir(), "disk")}
		run(t, "6.12", []string{"TestBeforeReboot"}, testProgram, m)
		run(t, "6.12", []string{"TestAfterReboot"}, testProgram, m)
	})
}

// run runs tests on a kernel and returns what the guest printed.
func run(t *testing.T, version vm.Version, tests []string, program string, m vm.Machine) string {
	t.Helper()
	kernel, err := vm.Find(t.Context(), version)
	if err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	m.Kernel, m.Timeout, m.Console = kernel, max(m.Timeout, 30*time.Minute), io.MultiWriter(&console, &marked{"guest " + string(version) + "| "})
	begin := time.Now()
	code, err := m.Run(t.Context(), program, "-test.v", "-test.run=^("+strings.Join(tests, "|")+")$")
	if err != nil {
		t.Fatal(err)
	}
	passed := report(t, tests, parse(console.String()))
	fmt.Printf("kernel %s: ran %d of %d tests, %d passed, exit %d, %s\n",
		kernel.Release, len(tests), len(tests), passed, code, time.Since(begin).Round(time.Second))
	if code != 0 {
		t.Errorf("kernel %s: the tests inside exit with %d", kernel.Release, code)
	}
	return console.String()
}

// marked shows a guest's lines, which would otherwise be taken for those of the
// tests here.
type marked struct{ mark string }

func (m *marked) Write(line []byte) (int, error) {
	if !testing.Verbose() {
		return len(line), nil
	}
	_, err := fmt.Printf("%s%s", m.mark, line)
	return len(line), err
}

// The verifier of the machine's own kernel is tracked too.
func TestOwnKernelVerifies(t *testing.T) {
	counts, err := inside.Verified(bpf.Dispatch, bpf.Verdict, bpf.Trial)
	if err != nil {
		t.Fatal(err)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	series := regexp.MustCompile(`^\d+\.\d+`).FindString(unix.ByteSliceToString(u.Release[:]))
	compare(t, networkCounts, vm.Version(series), counts)
	if counts, err = inside.Verified(bpf.RuntimeTrial); err != nil {
		t.Fatal(err)
	}
	hooks, absent, err := inside.VerifiedHooks(bpf.Hooks)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("this kernel has no hook for %d of %d programs: %s", len(absent), len(absent)+len(hooks), strings.Join(absent, " "))
	maps.Copy(counts, hooks)
	compare(t, runtimeCounts, vm.Version(series), counts)
}

// result is one test inside.
type result struct {
	verdict string // PASS, FAIL or SKIP; empty if it never ended
	output  string
}

var ended = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+) \(`)

// parse reads the output of "go test -v". What a test prints stands between its
// beginning and its end; what its log holds follows its end or stands before it.
func parse(console string) map[string]result {
	results := map[string]result{}
	current := ""
	for line := range strings.Lines(console) {
		text := strings.TrimRight(line, "\n")
		if name, ok := strings.CutPrefix(text, "=== RUN   "); ok && !strings.Contains(name, "/") {
			current = name
			results[current] = result{}
			continue
		}
		r := results[current]
		if m := ended.FindStringSubmatch(text); m != nil {
			r = results[m[2]]
			r.verdict = m[1]
			results[m[2]] = r
			continue
		}
		r.output += line
		results[current] = r
	}
	return results
}

// report makes each test inside one here and counts those that passed.
func report(t *testing.T, want []string, results map[string]result) (passed int) {
	t.Helper()
	for _, name := range want {
		r := results[name]
		ok := t.Run(name, func(t *testing.T) {
			switch r.verdict {
			case "PASS":
			case "":
				t.Errorf("did not end; it printed:\n%s", r.output)
			default:
				t.Errorf("%s inside:\n%s", r.verdict, r.output)
			}
		})
		if ok {
			passed++
		}
	}
	return passed
}

func TestParse(t *testing.T) {
	results := parse("booting\n=== RUN   TestA\n=== RUN   TestA/sub\n    a_test.go:1: hello\n--- PASS: TestA (0.10s)\n    --- PASS: TestA/sub (0.1s)\n" +
		"=== RUN   TestB\nfatal error\n--- FAIL: TestB (1.00s)\n=== RUN   TestC\npanic: boom\n")
	for name, want := range map[string]struct{ verdict, output string }{
		"TestA": {"PASS", "hello"},
		"TestB": {"FAIL", "fatal error"},
		"TestC": {"", "boom"},
	} {
		if r := results[name]; r.verdict != want.verdict || !strings.Contains(r.output, want.output) {
			t.Errorf("%s is %+v, want %+v", name, r, want)
		}
	}
}
