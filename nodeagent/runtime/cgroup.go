package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"palisade.dev/palisade/bpf"
)

// errNoUnified says that programs for sockets have nowhere to go, errNotMounted that the
// names of cgroups cannot be read.
var (
	errNoUnified  = errors.New("cgroup version 2 is not mounted")
	errNotMounted = errors.New("not mounted")
)

// hostRoots are where the host's files may be found: as its first process sees them, or
// else as this one does. The agent's own view may be that of a container.
func hostRoots(proc string) []string { return []string{filepath.Join(proc, "1/root"), "/"} }

// unifiedRoot is where the host sees cgroup version 2: programs for sockets are attached
// there, and all cgroups of the node are below.
func unifiedRoot(proc string) (string, error) {
	return cgroupRoot(proc, errNoUnified, func(kind, _ string) bool { return kind == "cgroup2" })
}

// root is where the host sees the hierarchy.
func (h hierarchy) root(proc string) (string, error) {
	if h.controller == bpf.HierarchyUnified {
		return unifiedRoot(proc)
	}
	missing := fmt.Errorf("cgroup controller %s: %w", h.name, errNotMounted)
	return cgroupRoot(proc, missing, func(kind, options string) bool {
		return kind == "cgroup" && slices.Contains(strings.Split(options, ","), h.name)
	})
}

// cgroupRoot is where the host sees the first mount that is meant.
func cgroupRoot(proc string, missing error, meant func(kind, options string) bool) (string, error) {
	mounts := []string{filepath.Join(proc, "1/mounts"), filepath.Join(proc, "self/mounts")}
	var errs []error
	for i, root := range hostRoots(proc) {
		dir, err := findMount(mounts[i], missing, meant)
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

func findMount(mounts string, missing error, meant func(kind, options string) bool) (string, error) {
	f, err := os.Open(mounts)
	if err != nil {
		return "", fmt.Errorf("mounts: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 3 && meant(fields[2], fields[3]) {
			return fields[1], nil
		}
	}
	return "", missing
}
