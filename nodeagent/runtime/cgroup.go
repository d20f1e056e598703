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

// hostRoots are where the host's files may be found: as its first process sees them, or
// else as this one does. The agent's own view may be that of a container.
func hostRoots(proc string) []string { return []string{filepath.Join(proc, "1/root"), "/"} }

// unifiedRoot is where the host sees cgroup version 2: programs for sockets are attached
// there, and all cgroups of the node are below.
func unifiedRoot(proc string) (string, error) {
	mounts := []string{filepath.Join(proc, "1/mounts"), filepath.Join(proc, "self/mounts")}
	var errs []error
	for i, root := range hostRoots(proc) {
		dir, err := findUnified(mounts[i])
		if err == nil {
			dir = filepath.Join(root, dir)
			if _, err = os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
				return dir, nil
			}
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

func findUnified(mounts string) (string, error) {
	f, err := os.Open(mounts)
	if err != nil {
		return "", fmt.Errorf("mounts: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && fields[2] == "cgroup2" {
			return fields[1], nil
		}
	}
	return "", errNoUnified
}
