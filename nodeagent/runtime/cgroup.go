package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// errNoUnified says that programs for sockets have nowhere to go.
var errNoUnified = errors.New("cgroup version 2 is not mounted")

// unifiedRoot is where the host's first process sees cgroup version 2: programs for
// sockets are attached there, and all cgroups of the node are below. The agent's own
// mount may begin at its own cgroup.
func unifiedRoot(proc string) (string, error) {
	f, err := os.Open(filepath.Join(proc, "1/mounts"))
	if err != nil {
		return "", fmt.Errorf("mounts: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && fields[2] == "cgroup2" {
			return filepath.Join(proc, "1/root", fields[1]), nil
		}
	}
	return "", errNoUnified
}
