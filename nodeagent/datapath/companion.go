package datapath

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// Companion has programs of its own that judge by the same tables, by the same
// active word and so by the same generation.
type Companion interface {
	// Load loads programs for tables: maps are the sides, the active word, counters
	// and limits, by their names. They judge from TakePlace on.
	Load(maps map[string]*ebpf.Map, fit func(*ebpf.CollectionSpec) error) (CompanionPrograms, error)
	// InUse lists the maps of the programs that judge now; nil if none do.
	InUse() (map[ebpf.MapID]bool, error)
	// Audit puts back what somebody took away, and names it.
	Audit() (repaired []string, err error)
}

// CompanionInUse lists the maps of a Companion's programs that judge now, by what is
// pinned in its directory alone; nil if none do.
type CompanionInUse func(pinDir string) (map[ebpf.MapID]bool, error)

// CompanionPrograms are a Companion's programs, loaded for tables of one capacity.
type CompanionPrograms interface {
	// TakePlace makes them judge instead of those of before, all of them or none;
	// undo takes that back.
	TakePlace() (undo func() error, err error)
	Close() error
}

// Network reports whether packets are judged; err says why they are not.
func (d *Datapath) Network() error { return d.networkLacks }

// loadCompanion loads the companion's programs; nil if there is no companion.
func (d *Datapath) loadCompanion(t *Tables) (CompanionPrograms, error) {
	if d.config.Companion == nil {
		return nil, nil
	}
	shared := map[string]*ebpf.Map{
		bpf.MapSides: t.sides, bpf.MapActive: t.active,
		bpf.MapCounters: d.maps[bpf.MapCounters], bpf.MapLimits: d.maps[bpf.MapLimits],
	}
	fit := func(spec *ebpf.CollectionSpec) error {
		for _, name := range []string{bpf.MapCounters, bpf.MapLimits} {
			spec.Maps[name].MaxEntries = uint32(d.config.Layout.MaxRules)
		}
		return fitSpec(spec, t.Capacity())
	}
	p, err := d.config.Companion.Load(shared, fit)
	if err != nil {
		return nil, fmt.Errorf("runtime programs: %w", err)
	}
	return p, nil
}

// usable decides whether to go on without the network programs: where the kernel
// cannot have them, and there is something else to be done.
func (d *Datapath) usable(lacks error) error {
	if lacks != nil && (d.config.Companion == nil || !errors.Is(lacks, ErrKernel)) {
		return lacks
	}
	d.networkLacks = lacks
	return nil
}

// Attribute tells what a slot of a rule stood for in a generation. Events of slots that
// are another's now may still come.
func (d *Datapath) Attribute(slot bpf.RuleSlot, g snapshot.Generation) Attribution {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attributionAt(uint32(slot), g)
}

// Fingerprint is what the kernel remembers of the path of an executable.
func (d *Datapath) Fingerprint(path string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.engine.layout.Fingerprint(path)
}
