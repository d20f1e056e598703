package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/link"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/events"
)

// detached reports whether somebody took a link off its hook and left its pin. The kernel
// allows it for those of cgroups alone.
func (p place) detached(l link.Link) (bool, error) {
	if p.means != events.Cgroup || l == nil {
		return false, nil
	}
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("hook %s: link: %w", p.name, err)
	}
	at := info.Cgroup()
	return at != nil && at.CgroupId == 0, nil
}

// letGo forgets the link of a hook.
func (r *Runtime) letGo(name string) error {
	l := r.links[name]
	if l == nil {
		return nil
	}
	delete(r.links, name)
	return l.Close()
}

// remove removes a pin that may be gone.
func (r *Runtime) remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pin %s: %w", path, err)
	}
	return nil
}

// removeStrange takes away what is attached and has no place here: of an agent with
// other means, or a hook whose program this kernel refuses now. It would go on to judge by
// tables that nobody changes any more.
func (r *Runtime) removeStrange() error {
	present, ours := map[string]bool{}, map[string]bool{}
	for _, at := range r.present {
		present[at.name] = true
		ours[datapath.CompanionLinks+at.key()], ours[arrayPrefix+at.key()] = true, true
	}
	var errs []error
	for _, prefix := range []string{datapath.CompanionLinks, arrayPrefix} {
		pins, err := filepath.Glob(filepath.Join(r.config.PinDir, prefix+"*"))
		errs = append(errs, err)
		for _, path := range pins {
			if !ours[filepath.Base(path)] {
				errs = append(errs, r.remove(path))
			}
		}
	}
	for name := range r.links {
		if !present[name] {
			errs = append(errs, r.letGo(name))
		}
	}
	return errors.Join(errs...)
}
