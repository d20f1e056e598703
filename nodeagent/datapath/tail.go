package datapath

import (
	"fmt"
	"path/filepath"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
)

// OpenReader opens what is pinned for reading events and counters alone, where no
// agent runs that would do so. held is the snapshot in force, which gives rules
// and endpoints their names; where it is not known the zero Update leaves them
// nameless. It loads no program and changes nothing. A
// Companion's programs judge alone where the kernel cannot judge packets; elsewhere
// companion is nil, and nothing is in force before packets are judged.
func OpenReader(c Config, companion CompanionInUse, held layout.Update) (_ *Datapath, err error) {
	c = c.withDefaults()
	d := &Datapath{config: c, maps: map[string]*ebpf.Map{}, pairs: map[pairID]*Pair{}}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	for _, name := range []string{bpf.MapCounters, bpf.MapLimits, bpf.MapEvents, bpf.MapPairs} {
		path := filepath.Join(c.stateDir(), name)
		if d.maps[name], err = ebpf.LoadPinnedMap(path, nil); err != nil {
			return nil, fmt.Errorf("pinned map %s: %w", path, err)
		}
	}
	path := c.pin(bpf.MapPrograms)
	if d.array, err = ebpf.LoadPinnedMap(path, nil); err != nil {
		return nil, fmt.Errorf("pinned map %s: %w", path, err)
	}
	return d, d.readTables(companion, held)
}

// readTables learns the numbers of rules from the side that judges, then gives
// the rows of the snapshot the same numbers.
func (d *Datapath) readTables(companion CompanionInUse, held layout.Update) error {
	d.engine.layout = layout.New(d.config.Layout)
	used, err := d.mapsInUse()
	if err == nil && used == nil && companion != nil {
		used, err = companion(d.config.CompanionDir())
	}
	if err != nil || used == nil {
		return err
	}
	if d.engine.tables, err = d.findTables(used); err != nil || d.engine.tables == nil {
		return err
	}
	active, err := d.engine.tables.Active()
	if err != nil {
		return err
	}
	lines := d.engine.tables.Lines(active)
	if sound(lines) {
		d.learn(lines)
	}
	if !held.Full {
		return nil
	}
	return d.engine.layout.Apply(held)
}
