package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/events"
)

// place is a hook with the kind of program that goes there.
type place struct {
	hook
	means events.Backend // none for facts
}

func places(present []hook, backends map[Section]Backend) []place {
	var out []place
	for _, h := range facts {
		out = append(out, place{h, events.NoBackend})
	}
	for _, h := range present {
		out = append(out, place{h, backends[h.sections[0]].Means})
	}
	return out
}

// shape makes a program's specification the one for this place.
func (p place) shape(spec *ebpf.ProgramSpec) {
	switch p.means {
	case events.LSM, events.FmodRet:
		p.make(spec, p.means)
	}
}

// pass is what a hook's program returns to let things go on.
func (p place) pass() int32 {
	if p.means == events.Cgroup {
		return 1
	}
	return 0
}

// dispatcher is what stays attached at a place: it calls the one entry of an array, and
// lets everything pass where there is none. It is frozen: a change of it means that an
// upgrade must detach.
func (p place) dispatcher(like *ebpf.ProgramSpec, array *ebpf.Map) *ebpf.ProgramSpec {
	spec := &ebpf.ProgramSpec{
		Name: "palisade_call", License: like.License, Type: like.Type, AttachType: like.AttachType, AttachTo: like.AttachTo,
		Instructions: asm.Instructions{
			asm.LoadMapPtr(asm.R2, array.FD()),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnTailCall.Call(),
			asm.Mov.Imm(asm.R0, p.pass()),
			asm.Return(),
		},
	}
	p.shape(spec)
	return spec
}

func (p place) attach(program *ebpf.Program, proc string) (link.Link, error) {
	switch p.means {
	case events.LSM:
		return link.AttachLSM(link.LSMOptions{Program: program})
	case events.Cgroup:
		root, err := unifiedRoot(proc)
		if err != nil {
			return nil, err
		}
		return link.AttachCgroup(link.CgroupOptions{Path: root, Attach: p.cgroup, Program: program})
	}
	return link.AttachTracing(link.TracingOptions{Program: program})
}

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
		s, ok := spec.Programs[p.program()]
		if !ok {
			return nil, fmt.Errorf("object %s has no program %s", bpf.Hooks.Name, p.program())
		}
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
			r.absent = append(r.absent, hook{name: p.name, missing: "hook " + p.name + " is refused by the kernel"})
			return true
		}
		for _, s := range p.sections {
			left[s] = true
		}
		return false
	})
	for s, b := range r.backends {
		if !left[s] {
			r.backends[s] = Backend{Means: events.NoBackend, Detail: strings.TrimPrefix(b.Detail+"; the kernel refuses its programs", "; ")}
		}
	}
}

// Close lets go of the programs; those in an array stay.
func (p *programs) Close() error {
	var errs []error
	for _, program := range p.by {
		errs = append(errs, program.Close())
	}
	for _, program := range p.former {
		errs = append(errs, program.Close())
	}
	return errors.Join(append(errs, p.finder.Close())...)
}

// TakePlace makes the dispatchers call these programs, and attaches dispatchers where
// there are none. Facts come first: what is judged is judged by them.
func (p *programs) TakePlace() (undo func() error, err error) {
	r := p.r
	r.mu.Lock()
	defer r.mu.Unlock()
	former := map[string]*ebpf.Program{}
	p.former = former
	undo = func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.restore(former)
	}
	for _, at := range r.present {
		array, was, err := r.array(at)
		if err != nil {
			return nil, errors.Join(err, r.restore(former))
		}
		former[at.name] = was
		if err := array.Put(uint32(0), p.by[at.name]); err != nil {
			return nil, errors.Join(fmt.Errorf("hook %s: program array: %w", at.name, err), r.restore(former))
		}
	}
	refused := map[string]bool{}
	for _, at := range r.present {
		err := r.attachAt(at)
		if err != nil && at.means != events.NoBackend {
			r.config.Log.Error(err, "a hook is not judged on this node")
			refused[at.program()] = true
			continue
		}
		if err != nil {
			return nil, errors.Join(err, r.restore(former))
		}
	}
	r.leaveOut(refused)
	r.used = p
	if err := p.bindExisting(); err != nil {
		return nil, errors.Join(err, r.restore(former))
	}
	return undo, nil
}

// restore puts programs back; nil ones are taken out.
func (r *Runtime) restore(former map[string]*ebpf.Program) error {
	var errs []error
	for name, was := range former {
		if was == nil {
			err := r.arrays[name].Delete(uint32(0))
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				errs = append(errs, fmt.Errorf("hook %s: program array: %w", name, err))
			}
			continue
		}
		if err := r.arrays[name].Put(uint32(0), was); err != nil {
			errs = append(errs, fmt.Errorf("hook %s: program array: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// array opens the array of a place and the program in it, nil if there is none.
func (r *Runtime) array(at place) (*ebpf.Map, *ebpf.Program, error) {
	if r.arrays[at.name] == nil {
		m, err := openMap(r.config.PinDir, &ebpf.MapSpec{
			Name: "call-" + at.key(), Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1,
		})
		if err != nil {
			return nil, nil, err
		}
		r.arrays[at.name] = m
	}
	array := r.arrays[at.name]
	was, err := programIn(array)
	return array, was, err
}

// key tells places apart in pins: a hook may be attached by another means after a restart.
func (p place) key() string {
	if p.means == events.NoBackend {
		return p.name
	}
	return string(p.means) + "-" + p.name
}

func programIn(array *ebpf.Map) (*ebpf.Program, error) {
	var id uint32
	err := array.Lookup(uint32(0), &id)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("program array: %w", err)
	}
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return nil, fmt.Errorf("program %d: %w", id, err)
	}
	return p, nil
}

// attachAt attaches the dispatcher of a place, unless it is attached and calls the
// array that is used.
func (r *Runtime) attachAt(at place) error {
	if r.links[at.name] != nil {
		return nil
	}
	path := filepath.Join(r.config.PinDir, datapath.CompanionLinks+at.key())
	l, err := link.LoadPinnedLink(path, nil)
	if err == nil {
		ours, err := callsArray(l, r.arrays[at.name])
		if err != nil {
			return errors.Join(fmt.Errorf("pinned link %s: %w", path, err), l.Close())
		}
		if ours {
			r.links[at.name] = l
			return nil
		}
		if err := errors.Join(os.Remove(path), l.Close()); err != nil {
			return fmt.Errorf("pinned link %s: %w", path, err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pinned link %s: %w", path, err)
	}
	spec, err := bpf.Hooks.Spec()
	if err != nil {
		return err
	}
	p, err := ebpf.NewProgram(at.dispatcher(spec.Programs[at.program()], r.arrays[at.name]))
	if err != nil {
		return fmt.Errorf("hook %s: dispatcher: %w", at.name, err)
	}
	defer p.Close()
	if l, err = at.attach(p, r.config.Proc); err != nil {
		return fmt.Errorf("hook %s: attach: %w", at.name, err)
	}
	if err := l.Pin(path); err != nil {
		return errors.Join(fmt.Errorf("link %s: %w", path, err), l.Close())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("link %s: %w", path, err), l.Close())
	}
	r.links[at.name] = l
	return nil
}

// callsArray reports whether the program of a link uses an array.
func callsArray(l link.Link, array *ebpf.Map) (bool, error) {
	info, err := l.Info()
	if err != nil {
		return false, err
	}
	p, err := ebpf.NewProgramFromID(info.Program)
	if err != nil {
		return false, fmt.Errorf("program %d: %w", info.Program, err)
	}
	defer p.Close()
	used, err := mapsOf(p)
	if err != nil {
		return false, err
	}
	about, err := array.Info()
	if err != nil {
		return false, fmt.Errorf("program array: %w", err)
	}
	id, _ := about.ID()
	return used[id], nil
}

func mapsOf(p *ebpf.Program) (map[ebpf.MapID]bool, error) {
	info, err := p.Info()
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", p, err)
	}
	ids, _ := info.MapIDs()
	used := make(map[ebpf.MapID]bool, len(ids))
	for _, id := range ids {
		used[id] = true
	}
	return used, nil
}

// InUse lists the maps of the program that judges executions now.
func (r *Runtime) InUse() (map[ebpf.MapID]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.present {
		if at.name != "sched_process_exec" {
			continue
		}
		_, p, err := r.array(at)
		if p == nil || err != nil {
			return nil, err
		}
		defer p.Close()
		return mapsOf(p)
	}
	return nil, nil
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
	path := filepath.Join(r.config.PinDir, datapath.CompanionLinks+at.key())
	if _, err := os.Stat(path); err == nil {
		return repaired, nil
	}
	if l := r.links[at.name]; l != nil {
		delete(r.links, at.name)
		if err := l.Close(); err != nil {
			return repaired, err
		}
	}
	return true, r.attachAt(at)
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
