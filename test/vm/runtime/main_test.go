//go:build guest

package runtime

import (
	"fmt"
	"os"
	"testing"
)

// roleVariable makes this program something else than tests, for tests that need
// another process.
const roleVariable = "PALISADE_ROLE"

var roles = map[string]func() error{}

func TestMain(m *testing.M) {
	if os.Getenv("PALISADE_VM") == "" {
		fmt.Fprintln(os.Stderr, "runtime: these tests take the machine over; run them in a virtual one: make test-vm")
		os.Exit(2)
	}
	name := os.Getenv(roleVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	role, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "runtime: no role %q\n", name)
		os.Exit(2)
	}
	if err := role(); err != nil {
		fmt.Fprintf(os.Stderr, "runtime: role %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
