// Package role lets a test program that takes a virtual machine over be started again
// as something else than its tests, where a test needs another process.
package role

import (
	"fmt"
	"os"
	"testing"
)

// Variable names the role in the environment of the process that plays it.
const Variable = "PALISADE_ROLE"

// Main runs the tests, or the role that the environment names, and ends the process.
// Outside of a virtual machine it refuses. program is what messages call it.
func Main(m *testing.M, program string, roles map[string]func() error) {
	if os.Getenv("PALISADE_VM") == "" {
		fmt.Fprintf(os.Stderr, "%s: these tests take the machine over; run them in a virtual one: make test-vm\n", program)
		os.Exit(2)
	}
	name := os.Getenv(Variable)
	if name == "" {
		os.Exit(m.Run())
	}
	play, ok := roles[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: no role %q\n", program, name)
		os.Exit(2)
	}
	if err := play(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: role %s: %v\n", program, name, err)
		os.Exit(1)
	}
	os.Exit(0)
}
