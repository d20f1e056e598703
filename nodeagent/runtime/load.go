package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/events"
)

// programs are what the dispatchers call, by hook.
type programs struct {
	r      *Runtime
	by     map[string]*ebpf.Program
	former map[string]*ebpf.Program // what judged before, as long as that may come back
	finder *ebpf.Program            // binds what is there already
}

// Load loads the programs for tables, as package datapath asks. A program that this
// kernel refuses is left out, and named; the others are loaded.
func (r *Runtime) Load(shared map[string]*ebpf.Map, fit func(*ebpf.CollectionSpec) error) (datapath.CompanionPrograms, error) {
	spec, err := r.spec()
	if err != nil {
		return nil, err
	}
	if err := fit(spec); err != nil {
		return nil, err
	}
	replace := map[string]*ebpf.Map{}
	for name := range spec.Maps {
		switch {
		case shared[name] != nil:
			replace[name] = shared[name]
		case r.maps[name] != nil:
			replace[name] = r.maps[name]
		}
	}
	for _, unused := range []string{bpf.MapPairs, bpf.MapEvents} {
		delete(spec.Maps, unused)
		delete(replace, unused)
	}
	keep := map[string]*ebpf.ProgramSpec{programExisting: spec.Programs[programExisting]}
	for _, p := range r.present {
		s := spec.Programs[p.program()] // Open found that there is one
		p.shape(s)
		keep[p.program()] = s
	}
	spec.Programs = keep
	loaded, err := loadAll(spec, replace)
	if err != nil {
		r.config.Log.Info("the kernel refuses a program; trying one by one", "why", err.Error())
		if loaded, err = r.loadEach(spec, replace); err != nil {
			return nil, err
		}
	}
	out := &programs{r: r, by: map[string]*ebpf.Program{}, finder: loaded[programExisting]}
	for _, p := range r.present {
		out.by[p.name] = loaded[p.program()]
	}
	return out, nil
}

// loadAll loads every program of a specification.
func loadAll(spec *ebpf.CollectionSpec, replace map[string]*ebpf.Map) (map[string]*ebpf.Program, error) {
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	out := map[string]*ebpf.Program{}
	for name := range spec.Programs {
		out[name] = c.DetachProgram(name)
	}
	return out, nil
}

// loadEach loads what the kernel takes. What it does not is left out for good, and told;
// without the programs that keep facts nothing can be judged.
func (r *Runtime) loadEach(spec *ebpf.CollectionSpec, replace map[string]*ebpf.Map) (_ map[string]*ebpf.Program, err error) {
	out := map[string]*ebpf.Program{}
	defer func() {
		if err != nil {
			for _, p := range out {
				err = errors.Join(err, p.Close())
			}
		}
	}()
	for name, m := range spec.Maps {
		if replace[name] != nil || strings.HasPrefix(name, ".") {
			continue
		}
		// What programs share must be the same map.
		made, err := ebpf.NewMap(m)
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
		defer made.Close()
		replace[name] = made
	}
	optional := map[string]bool{}
	for _, p := range r.present {
		optional[p.program()] = p.means != events.NoBackend
	}
	refused := map[string]bool{}
	for name, program := range spec.Programs {
		one := spec.Copy()
		one.Programs = map[string]*ebpf.ProgramSpec{name: program.Copy()}
		loaded, err := loadAll(one, replace)
		switch {
		case err == nil:
			out[name] = loaded[name]
		case optional[name]:
			refused[name] = true
			r.config.Log.Error(rootCause(err), "a hook is not judged on this kernel", "program", name)
		default:
			return out, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaveOut(refused)
	return out, nil
}

// leaveOut forgets places whose programs the kernel refuses. A section without any is
// enforced by nothing.
func (r *Runtime) leaveOut(refused map[string]bool) {
	if len(refused) == 0 {
		return
	}
	left := map[Section]bool{Executables: r.backends[Executables].Means == events.Signal}
	r.present = slices.DeleteFunc(r.present, func(p place) bool {
		if refused[p.program()] {
			// Nobody knows what else would see what this hook was to see.
			for _, s := range p.sections {
				r.lacks(s, everything(s))
			}
			return true
		}
		for _, s := range p.sections {
			left[s] = true
		}
		return false
	})
	for s, b := range r.backends {
		if !left[s] {
			r.backends[s] = Backend{Means: events.NoBackend, Detail: b.Detail}.because("the kernel refuses its programs")
		}
	}
}
