package runtime

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"palisade.dev/palisade/bpf"
)

// findEvery is how often containers are looked for of whose cgroup nothing was told: the
// agent may not have been there, or the kernel had no room to tell.
const findEvery = 30 * time.Second

// find adds the containers in the kernel that nothing is known of to those that wait for a
// name. A cgroup's name is that of its directory, whose inode has the cgroup's number.
func (r *Runtime) find() error {
	strange := map[uint64]bpf.Key6{}
	var cgroup uint64
	var b bpf.Bound
	entries := r.maps[bpf.MapContainers].Iterate()
	for entries.Next(&cgroup, &b) {
		if b.Root == cgroup && b.Container.Name != bpf.ContainerPod && !r.unnamed.has(cgroup) {
			strange[cgroup] = bpf.Key6{High: b.Container.UIDHigh, Low: b.Container.UIDLow}
		}
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("containers that nothing was told of: %w", err)
	}
	if len(strange) == 0 {
		return nil
	}
	root, err := r.hierarchy.root(r.config.Proc)
	if err != nil {
		return fmt.Errorf("containers that nothing was told of: %w", err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // it went while we looked
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			if pod, ok := strange[s.Ino]; ok {
				r.unnamed.add(s.Ino, containerID(d.Name()), pod, time.Time{})
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("containers that nothing was told of: %w", err)
	}
	return nil
}

// containerOf is the container that a cgroup is of: itself, or one that it is below.
func (r *Runtime) containerOf(cgroup uint64) Container {
	if c := r.unnamed.container(cgroup); c.ID != "" {
		return c
	}
	var b bpf.Bound
	if err := r.maps[bpf.MapContainers].Lookup(cgroup, &b); err != nil || b.Root == cgroup {
		return Container{}
	}
	return r.unnamed.container(b.Root)
}
