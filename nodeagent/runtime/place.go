package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

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
func (p place) dispatcher(like kind, array *ebpf.Map) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{
		Name: "palisade_call", License: like.license, Type: like.program, AttachType: like.attach, AttachTo: like.to,
		Instructions: asm.Instructions{
			asm.LoadMapPtr(asm.R2, array.FD()),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnTailCall.Call(),
			asm.Mov.Imm(asm.R0, p.pass()),
			asm.Return(),
		},
	}
}

// kind is what a dispatcher has in common with what it calls. It is kept, because reading
// the object again for each place would be most of an agent's start.
type kind struct {
	program ebpf.ProgramType
	attach  ebpf.AttachType
	to      string
	license string
}

func (p place) kind(spec *ebpf.ProgramSpec) kind {
	p.shape(spec)
	return kind{spec.Type, spec.AttachType, spec.AttachTo, spec.License}
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
	p, err := ebpf.NewProgram(at.dispatcher(r.kinds[at.name], r.arrays[at.name]))
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
