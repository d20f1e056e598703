package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"palisade.dev/palisade/bpf"
)

// hierarchy is where containers are told apart. Pods have their cgroups in version 2
// where it stands alone. Beside version 1 it may be empty, so there a controller's
// hierarchy counts.
type hierarchy struct {
	id         uint32
	controller uint32 // number in the kernel, or bpf.HierarchyUnified
	name       string
}

// controllers are those whose hierarchy may be used, the best first: kubelet and the
// container runtimes make a pod's cgroup in all of them.
var controllers = []string{"pids", "memory", "cpu"}

// findHierarchy chooses by what controllers are mounted as version 1.
func findHierarchy(proc string) (hierarchy, error) {
	path := filepath.Join(proc, "cgroups")
	f, err := os.Open(path)
	if err != nil {
		return hierarchy{}, fmt.Errorf("cgroup hierarchies: %w", err)
	}
	defer f.Close()
	mounted, err := mountedControllers(f)
	if err != nil {
		return hierarchy{}, fmt.Errorf("cgroup hierarchies: %s: %w", path, err)
	}
	for _, name := range controllers {
		id := mounted[name]
		if id == 0 {
			continue
		}
		number, err := controllerNumber(name)
		if err != nil {
			return hierarchy{}, fmt.Errorf("cgroup controller %s: %w", name, err)
		}
		return hierarchy{id: id, controller: number, name: name}, nil
	}
	return hierarchy{controller: bpf.HierarchyUnified, name: "unified"}, nil
}

// mountedControllers reads /proc/cgroups: controllers and the numbers of their hierarchies,
// 0 for version 2 and for what is not mounted.
func mountedControllers(r io.Reader) (map[string]uint32, error) {
	out := map[string]uint32{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || strings.HasPrefix(f[0], "#") {
			continue
		}
		id, err := strconv.ParseUint(f[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", lines.Text(), err)
		}
		out[f[0]] = uint32(id)
	}
	return out, nil
}

// controllerNumber is a controller's number in this kernel.
func controllerNumber(name string) (uint32, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return 0, err
	}
	var e *btf.Enum
	if err := kernel.TypeByName("cgroup_subsys_id", &e); err != nil {
		return 0, err
	}
	for _, v := range e.Values {
		if v.Name == name+"_cgrp_id" {
			return uint32(v.Value), nil
		}
	}
	return 0, errors.New("not known to this kernel")
}

// programExisting binds what is there already.
const programExisting = bpf.HookPrefix + "existing"

// passes are how often processes are looked at: each hands what is known of a parent on
// to its children, and children nearly always have higher numbers.
const passes = 2

// bindExisting binds cgroups and processes that are older than the programs. It changes
// nothing about those that are bound already.
func (p *programs) bindExisting() error {
	for range passes {
		l, err := link.AttachIter(link.IterOptions{Program: p.finder})
		if err != nil {
			return fmt.Errorf("processes that run already: %w", err)
		}
		r, err := l.Open()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			err = errors.Join(err, r.Close())
		}
		if err := errors.Join(err, l.Close()); err != nil {
			return fmt.Errorf("processes that run already: %w", err)
		}
	}
	return nil
}

// BindExisting looks again for what is older than the programs, and completes what is
// known of processes that the kernel had no keys to remember by.
func (r *Runtime) BindExisting() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used == nil {
		return nil
	}
	return r.used.bindExisting()
}
