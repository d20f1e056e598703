package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/nodeagent/events"
)

// InUse lists the maps of the program that judges executions now.
func (r *Runtime) InUse() (map[ebpf.MapID]bool, error) {
	return InUse(r.config.PinDir)
}

// InUse lists the maps of the programs that are pinned in a directory and judge now; nil if
// none do. It changes nothing.
func InUse(pinDir string) (map[ebpf.MapID]bool, error) {
	// Every node has this one, whatever its kernel can judge by.
	executed := place{hook{name: "sched_process_exec"}, events.NoBackend}
	path := filepath.Join(pinDir, arrayPrefix+executed.key())
	array, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pinned map %s: %w", path, err)
	}
	defer array.Close()
	p, err := programIn(array)
	if p == nil || err != nil {
		return nil, err
	}
	defer p.Close()
	return mapsOf(p)
}

// Audit attaches again what somebody detached.
func (r *Runtime) Audit() (repaired []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used == nil {
		return nil, nil
	}
	for _, at := range r.present {
		again, err := r.auditAt(at)
		if err != nil {
			return repaired, err
		}
		if again {
			repaired = append(repaired, at.name)
		}
	}
	return repaired, nil
}

func (r *Runtime) auditAt(at place) (repaired bool, err error) {
	array, in, err := r.array(at)
	if err != nil {
		return false, err
	}
	ours, err := same(in, r.used.by[at.name])
	if err != nil {
		return false, err
	}
	if !ours {
		repaired = true
		if err := array.Put(uint32(0), r.used.by[at.name]); err != nil {
			return false, fmt.Errorf("hook %s: program array: %w", at.name, err)
		}
	}
	_, err = os.Stat(r.linkPin(at))
	if err == nil {
		off, err := at.detached(r.links[at.name])
		if err != nil || !off {
			return repaired, err
		}
	}
	if err := errors.Join(r.remove(r.linkPin(at)), r.letGo(at.name)); err != nil {
		return repaired, err
	}
	return true, r.attach([]place{at})[at.name]
}

// same compares programs by their numbers, and lets go of the first.
func same(a, b *ebpf.Program) (bool, error) {
	if a == nil {
		return false, nil
	}
	defer a.Close()
	x, err := a.Info()
	if err != nil {
		return false, fmt.Errorf("program %s: %w", a, err)
	}
	y, err := b.Info()
	if err != nil {
		return false, fmt.Errorf("program %s: %w", b, err)
	}
	i, _ := x.ID()
	j, _ := y.ID()
	return i == j, nil
}
