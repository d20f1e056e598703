package datapath

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
)

// Drift is what an audit found, and mended unless it returned an error.
type Drift struct {
	Active   int      // lines of the side that judges
	Idle     int      // lines of the other side
	Programs []string // slots of the dispatcher that held another program
	Links    []string // places where nothing was attached, or no pin was left; also of the dispatcher's array
}

// Empty reports that nothing was amiss.
func (d Drift) Empty() bool {
	return d.Active == 0 && d.Idle == 0 && len(d.Programs) == 0 && len(d.Links) == 0
}

// String is empty if nothing was amiss.
func (d Drift) String() string {
	var parts []string
	if d.Active > 0 {
		parts = append(parts, fmt.Sprintf("%d lines of the side in force", d.Active))
	}
	if d.Idle > 0 {
		parts = append(parts, fmt.Sprintf("%d lines of the idle side", d.Idle))
	}
	if len(d.Programs) > 0 {
		parts = append(parts, "programs "+strings.Join(d.Programs, ", "))
	}
	if len(d.Links) > 0 {
		parts = append(parts, "links "+strings.Join(d.Links, ", "))
	}
	return strings.Join(parts, "; ")
}

// Audit compares the kernel with what was applied, repairs it and reports what it
// found. A damaged side that judges is replaced as by Apply: the idle side is
// written and takes over.
func (d *Datapath) Audit(ctx context.Context) (Drift, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var drift Drift
	if err := ctx.Err(); err != nil {
		return drift, err
	}
	if len(d.maps) == 0 {
		return drift, errClosed
	}
	if err := d.auditNetwork(&drift); err != nil {
		return drift, err
	}
	if d.config.Companion != nil && !d.deferred {
		repaired, err := d.config.Companion.Audit()
		drift.Links = append(drift.Links, repaired...)
		if err != nil {
			return drift, err
		}
	}
	if !d.engine.layout.Ready() {
		return drift, nil
	}
	if d.engine.undone {
		return drift, d.republish()
	}
	err := d.engine.audit(&drift)
	if !drift.Empty() {
		d.stats.Repairs++
	}
	return drift, err
}

// republish writes what is in force again, after an update that did not get as far
// as that: the image was made anew, so lines that differ are no damage.
func (d *Datapath) republish() error {
	r, err := d.engine.publish(time.Now())
	if err == nil && r.Grown {
		err = d.removeOthers()
	}
	return err
}

func (e *engine) audit(drift *Drift) error {
	active, err := e.tables.Active()
	if err != nil {
		return err
	}
	idle := 1 - active
	drift.Idle, drift.Active = e.compare(idle), e.compare(active)
	if drift.Idle > 0 {
		e.layout.Lost(idle)
	}
	if e.undrained {
		if err := e.drain(idle); err != nil {
			return err
		}
	}
	if drift.Idle > 0 || drift.Active > 0 {
		if _, err := e.sync(idle); err != nil {
			return err
		}
	}
	if drift.Active == 0 {
		return nil
	}
	e.tables.Flip(idle)
	e.layout.Lost(active)
	if err := e.drain(active); err != nil {
		return err
	}
	_, err = e.sync(active)
	return err
}

// compare counts the lines of a side that are not as they should be.
func (e *engine) compare(side int) int {
	want, have := e.layout.Lines(), e.tables.Lines(side)
	different := 0
	for i := range want {
		if want[i] != have[i] {
			different++
		}
	}
	return different
}

func (d *Datapath) auditNetwork(drift *Drift) error {
	if d.networkLacks != nil {
		return nil
	}
	if err := d.auditPrograms(drift); err != nil {
		return err
	}
	return d.auditLinks(drift)
}

func (d *Datapath) auditPrograms(drift *Drift) error {
	if d.deferred {
		return nil
	}
	for slot, p := range map[uint32]*ebpf.Program{bpf.SlotVerdict: d.programs.verdict, bpf.SlotGuard: d.programs.guard} {
		info, err := p.Info()
		if err != nil {
			return fmt.Errorf("program %s: %w", p, err)
		}
		want, _ := info.ID()
		var have uint32
		err = d.array.Lookup(slot, &have)
		if err == nil && ebpf.ProgramID(have) == want {
			continue
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("program array: %w", err)
		}
		drift.Programs = append(drift.Programs, info.Name)
	}
	slices.Sort(drift.Programs)
	if err := d.auditArray(drift); err != nil {
		return err
	}
	if len(drift.Programs) > 0 {
		return d.takePlace(d.programs)
	}
	return nil
}

// auditArray pins the array again where its pin was lost: with the last user of an
// array the kernel empties it, and the links would let everything pass.
func (d *Datapath) auditArray(drift *Drift) error {
	path := d.config.pin(bpf.MapPrograms)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	drift.Links = append(drift.Links, bpf.MapPrograms)
	// The map believes that it is still pinned there.
	if err := d.array.Unpin(); err != nil {
		return fmt.Errorf("%w: map %s: %w", ErrPinDir, path, err)
	}
	if err := d.array.Pin(path); err != nil {
		return fmt.Errorf("%w: map %s: %w", ErrPinDir, path, err)
	}
	return os.Chmod(path, 0o600)
}

// auditLinks looks whether every place is taken, by trying to take it, and every
// link pinned. It looks at the network namespace of the calling thread.
func (d *Datapath) auditLinks(drift *Drift) error {
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
		path := d.config.pin(a.name)
		l, err := attachAt(a, c.Programs[a.program])
		switch {
		case errors.Is(err, unix.EBUSY):
			if _, err := os.Stat(path); err == nil {
				continue
			}
			// The link believes that it is still pinned there.
			l = d.links[a.name]
			if err := l.Unpin(); err != nil {
				return fmt.Errorf("%w: link %s: %w", ErrPinDir, path, err)
			}
		case err != nil:
			return fmt.Errorf("attach %s: %w", a.name, explain(err))
		default:
			if err := errors.Join(d.links[a.name].Close(), removeFile(path)); err != nil {
				return err
			}
			d.links[a.name] = l
		}
		drift.Links = append(drift.Links, a.name)
		if err := pinLink(l, path); err != nil {
			return err
		}
	}
	return nil
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrPinDir, err)
	}
	return nil
}
