// Package guest is what the host side of a virtual machine and its first process
// agree on.
package guest

import (
	"fmt"
	"strconv"
	"strings"
)

// Where the first process finds its orders.
const (
	CommandFile = "/etc/palisade-vm.json"
	ModuleDir   = "/modules"
	// ReportDevice is the serial line that carries the exit code.
	ReportDevice = "/dev/ttyS1"
)

// Command is what a guest is to do.
type Command struct {
	Args    []string
	Env     []string
	Modules []string // in order of loading
}

const exitMarker = "palisade-vm: exit "

// ExitLine says how the program ended.
func ExitLine(code int) string { return fmt.Sprintf("%s%d\n", exitMarker, code) }

// ParseExit finds the line of ExitLine.
func ParseExit(report string) (int, bool) {
	for line := range strings.Lines(report) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), strings.TrimSpace(exitMarker)+" "); ok {
			code, err := strconv.Atoi(text)
			return code, err == nil
		}
	}
	return 0, false
}
