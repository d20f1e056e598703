package datapath

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
)

// attach puts the dispatchers in their places, unless they are there already.
func (d *Datapath) attach() error {
	if d.networkLacks != nil {
		return nil
	}
	spec, err := bpf.Dispatch.Spec()
	if err != nil {
		return err
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{bpf.MapPrograms: d.array}})
	if err != nil {
		return explain(err)
	}
	defer c.Close()
	for _, a := range attachments {
		l, err := d.openLink(a, c.Programs[a.program])
		if err != nil {
			return err
		}
		d.links[a.name] = l
	}
	return nil
}

// takePlace makes the dispatchers call programs: all of them, or those of before.
func (d *Datapath) takePlace(p *programs) error {
	undo := func() error { return nil }
	if p.companion != nil {
		var err error
		if undo, err = p.companion.TakePlace(); err != nil {
			return fmt.Errorf("runtime programs: %w", err)
		}
	}
	if p.verdict == nil {
		return nil
	}
	if err := d.takeNetwork(p); err != nil {
		return errors.Join(err, undo())
	}
	return nil
}

func (d *Datapath) takeNetwork(p *programs) error {
	former, err := d.programAt(bpf.SlotVerdict)
	if err != nil {
		return err
	}
	defer former.Close()
	if err := d.array.Put(bpf.SlotVerdict, p.verdict); err != nil {
		return fmt.Errorf("program array: verdict: %w", err)
	}
	err = d.array.Put(bpf.SlotGuard, p.guard)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("program array: guard: %w", err)
	if former == nil {
		return errors.Join(err, d.array.Delete(bpf.SlotVerdict))
	}
	return errors.Join(err, d.array.Put(bpf.SlotVerdict, former))
}

// programAt opens the program of a slot; nil if there is none.
func (d *Datapath) programAt(slot uint32) (*ebpf.Program, error) {
	var id uint32
	err := d.array.Lookup(slot, &id)
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

// openLink opens a pinned link, or attaches and pins. A link whose dispatcher calls
// another array is left of an agent whose pin of the array was lost: the kernel
// emptied that array with its last user, so the link lets everything pass for ever.
func (d *Datapath) openLink(a attachment, p *ebpf.Program) (link.Link, error) {
	path := d.config.pin(a.name)
	l, err := link.LoadPinnedLink(path, nil)
	switch {
	case err == nil:
		ours, err := d.calls(l)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("pinned link %s: %w", path, err), l.Close())
		}
		if ours {
			return l, nil
		}
		if err := errors.Join(os.Remove(path), l.Close()); err != nil {
			return nil, fmt.Errorf("pinned link %s: %w", path, err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("pinned link %s: %w", path, err)
	}
	l, err = attachAt(a, p)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("attach %s: another BPF program is at netfilter hook %d, priority %d: see `bpftool link`, and `palisade uninstall` if it is an older Palisade", a.name, a.hook, a.priority)
	case err != nil:
		return nil, fmt.Errorf("attach %s: %w", a.name, explain(err))
	}
	if err := pinLink(l, path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// calls reports whether the dispatcher of a link calls what is in this agent's array.
func (d *Datapath) calls(l link.Link) (bool, error) {
	at, err := l.Info()
	if err != nil {
		return false, err
	}
	p, err := ebpf.NewProgramFromID(at.Program)
	if err != nil {
		return false, fmt.Errorf("program %d: %w", at.Program, err)
	}
	defer p.Close()
	used, err := mapsOf(p)
	if err != nil {
		return false, err
	}
	info, err := d.array.Info()
	if err != nil {
		return false, fmt.Errorf("map %s: %w", bpf.MapPrograms, err)
	}
	id, _ := info.ID()
	return used[id], nil
}

// attachAt takes a place; unix.EBUSY if it is taken.
func attachAt(a attachment, p *ebpf.Program) (link.Link, error) {
	return link.AttachNetfilter(link.NetfilterOptions{
		Program: p, ProtocolFamily: link.NetfilterProtocolFamily(a.family), Hook: link.NetfilterInetHook(a.hook),
		Priority: a.priority, NetfilterFlags: netfilterDefrag,
	})
}

// pinLink keeps a link beyond this process, for root only.
func pinLink(l link.Link, path string) error {
	if err := l.Pin(path); err != nil {
		return fmt.Errorf("%w: link %s: %w", ErrPinDir, path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("link %s: %w", path, err)
	}
	return nil
}
