package runtime

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

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
	failed := r.attach(r.present)
	refused := map[string]bool{}
	for _, at := range r.present {
		err := failed[at.name]
		if err != nil && at.means == events.NoBackend {
			return nil, errors.Join(err, r.restore(former))
		}
		if err != nil {
			r.config.Log.Error(err, "a hook is not judged on this node")
			refused[at.program()] = true
		}
	}
	r.leaveOut(refused)
	r.used = p
	if err := p.bindExisting(); err != nil {
		return nil, errors.Join(err, r.restore(former))
	}
	if err := r.removeStrange(); err != nil {
		r.config.Log.Error(err, "programs of another agent may judge by rules that are no more")
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

// arrayPrefix begins the names of the arrays by which dispatchers call.
const arrayPrefix = "call-"

// array opens the array of a place and the program in it, nil if there is none.
func (r *Runtime) array(at place) (*ebpf.Map, *ebpf.Program, error) {
	if r.arrays[at.name] == nil {
		m, err := openMap(r.config.PinDir, &ebpf.MapSpec{
			Name: arrayPrefix + at.key(), Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1,
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
