package vm

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"palisade.dev/palisade/test/vm/runtime"
)

// libraryLine matches what the test inside prints of one policy.
var libraryLine = regexp.MustCompile(`(?m)^library \S+ control=succeeded policy=stopped errno=\S+ work=untouched$`)

// TestLibrary: the policies of config/library, each against its attacks and with the
// work that it has to leave alone.
func TestLibrary(t *testing.T) {
	if os.Getenv("PALISADE_FULL") == "" {
		// Four minutes a kernel; what the policies are made of is in TestRuntime.
		t.Skipf("ran 0 of %d policies of the library: PALISADE_FULL=1 runs them", len(runtime.Library))
	}
	m := runtimeMachine(t)
	m.Tools = append(m.Tools, runtime.Dash)
	for _, version := range runtimeKernels {
		t.Run(string(version), func(t *testing.T) {
			console := run(t, version, []string{"TestLibrary"}, runtimeTests, m)
			lines := libraryLine.FindAllString(strings.ReplaceAll(console, "\r", ""), -1)
			for _, line := range lines {
				fmt.Printf("kernel %s: %s\n", version, line)
			}
			if len(lines) != len(runtime.Library) {
				t.Errorf("%d of %d policies stop their attack and leave work alone", len(lines), len(runtime.Library))
			}
		})
	}
}
