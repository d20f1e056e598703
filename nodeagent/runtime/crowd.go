package runtime

import (
	"fmt"

	"palisade.dev/palisade/bpf"
)

// maxCgroups is how many cgroups of pods, containers and what is below them the kernel's
// programs can tell apart.
func (r *Runtime) maxCgroups() uint32 { return r.maps[bpf.MapContainers].MaxEntries() }

// tooMany says what follows where there was no room for a pod's cgroup.
func (r *Runtime) tooMany() string {
	return fmt.Sprintf("there is room for %d cgroups, and pods that came later are not judged (--unknown-pods=%s does not hold for them): remove pods, or cgroups that containers made", r.maxCgroups(), r.config.Unknown)
}

// Unplaced is how often there was no room for a pod's or a container's cgroup.
func (r *Runtime) Unplaced() (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.maps[bpf.MapUnplaced]
	if m == nil {
		return 0, nil // closed
	}
	var n uint64
	if err := m.Lookup(uint32(0), &n); err != nil {
		return 0, fmt.Errorf("cgroups without room: %w", err)
	}
	return n, nil
}

// place tries again to bind the cgroups for which there was no room, and remembers
// whether there is now. seen is how often there had been none when it last looked.
func (r *Runtime) place(seen *uint64) error {
	before, err := r.Unplaced()
	if err != nil || before == *seen && !r.crowded.Load() {
		return err
	}
	if err := r.BindExisting(); err != nil {
		return err
	}
	after, err := r.Unplaced()
	if err != nil {
		return err
	}
	*seen = after
	crowded := after != before
	if was := r.crowded.Swap(crowded); crowded && !was {
		r.config.Log.Error(nil, "cgroups of pods found no room in the kernel: "+r.tooMany(), "times", after)
	} else if was && !crowded {
		r.config.Log.Info("there is room for the cgroups of all pods again")
	}
	return nil
}
