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

// attach attaches the dispatchers of places that have none, and says by hook what failed.
func (r *Runtime) attach(places []place) map[string]error {
	failed := map[string]error{}
	var bare []place
	for _, at := range places {
		attached, err := r.attached(at)
		switch {
		case err != nil:
			failed[at.name] = err
		case !attached:
			bare = append(bare, at)
		}
	}
	loaded := r.loadDispatchers(bare, failed)
	for _, at := range bare {
		program := loaded[at.name]
		if program == nil {
			continue
		}
		if err := errors.Join(r.attachAt(at, program), program.Close()); err != nil {
			failed[at.name] = err
		}
	}
	return failed
}

// loadDispatchers loads them together: one by one, each would read all of the kernel's
// types again, which is most of an agent's start. What the kernel refuses goes into failed.
func (r *Runtime) loadDispatchers(places []place, failed map[string]error) map[string]*ebpf.Program {
	specs := map[string]*ebpf.ProgramSpec{}
	for _, at := range places {
		specs[at.name] = at.dispatcher(r.kinds[at.name], r.arrays[at.name])
	}
	if loaded, err := loadAll(&ebpf.CollectionSpec{Programs: specs}, nil); err == nil {
		return loaded
	}
	out := map[string]*ebpf.Program{}
	for name, spec := range specs {
		p, err := ebpf.NewProgram(spec)
		if err != nil {
			failed[name] = fmt.Errorf("hook %s: dispatcher: %w", name, err)
			continue
		}
		out[name] = p
	}
	return out
}

// attached reports whether a place has a dispatcher that calls the array that is used.
// One that calls another is taken away.
func (r *Runtime) attached(at place) (bool, error) {
	if r.links[at.name] != nil {
		return true, nil
	}
	path := r.linkPin(at)
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("pinned link %s: %w", path, err)
	}
	ours, err := callsArray(l, r.arrays[at.name])
	off, err2 := at.detached(l)
	if err := errors.Join(err, err2); err != nil {
		return false, errors.Join(fmt.Errorf("pinned link %s: %w", path, err), l.Close())
	}
	if ours && !off {
		r.links[at.name] = l
		return true, nil
	}
	if err := errors.Join(os.Remove(path), l.Close()); err != nil {
		return false, fmt.Errorf("pinned link %s: %w", path, err)
	}
	return false, nil
}

func (r *Runtime) linkPin(at place) string {
	return filepath.Join(r.config.PinDir, datapath.CompanionLinks+at.key())
}

// attachAt attaches a dispatcher to its place, and pins the link for root only.
func (r *Runtime) attachAt(at place, dispatcher *ebpf.Program) error {
	l, err := at.link(dispatcher, r.config.Proc)
	if err != nil {
		return fmt.Errorf("hook %s: attach: %w", at.name, err)
	}
	path := r.linkPin(at)
	err = l.Pin(path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("link %s: %w", path, err), l.Close())
	}
	r.links[at.name] = l
	return nil
}

func (p place) link(program *ebpf.Program, proc string) (link.Link, error) {
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
