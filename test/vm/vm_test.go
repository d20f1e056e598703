package vm

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/hack/vm"
	"palisade.dev/palisade/test/vm/inside"
)

// kernels are the ones that Palisade is to work on, or to refuse clearly, with the
// tests that make sense on each.
var kernels = []struct {
	version vm.Version
	run     []string
}{
	{"6.1", []string{"TestKernelWithoutNetfilterBPF", "TestLSMStopsAnExec"}},
	{"6.12", []string{"TestNetworkPrograms", "TestNetworkPolicy", "TestLSMStopsAnExec"}},
}

func TestKernels(t *testing.T) {
	tests := filepath.Join(t.TempDir(), "inside.test")
	if err := vm.BuildTests(t.Context(), tests, "palisade.dev/palisade/test/vm/inside"); err != nil {
		t.Fatal(err)
	}
	for _, k := range kernels {
		t.Run(string(k.version), func(t *testing.T) {
			kernel, err := vm.Find(t.Context(), k.version)
			if err != nil {
				t.Fatal(err)
			}
			var console bytes.Buffer
			m := vm.Machine{
				Kernel: kernel, Files: map[string]string{"/bin/inside": tests},
				Timeout: 4 * time.Minute, Console: io.MultiWriter(&console, &marked{"guest " + string(k.version) + "| "}),
			}
			begin := time.Now()
			code, err := m.Run(t.Context(), "/bin/inside", "-test.v", "-test.run=^("+strings.Join(k.run, "|")+")$")
			if err != nil {
				t.Fatal(err)
			}
			results := parse(console.String())
			passed := report(t, k.run, results)
			fmt.Printf("kernel=%s passed=%d of=%d exit=%d took=%s\n", kernel.Release, passed, len(k.run), code, time.Since(begin).Round(time.Second))
			if code != 0 {
				t.Errorf("kernel %s: the tests inside exit with %d", kernel.Release, code)
			}
			if counts := verified(console.String()); len(counts) > 0 {
				compare(t, k.version, counts)
			}
		})
	}
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
	compare(t, vm.Version(series), counts)
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
