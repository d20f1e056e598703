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
// and endpoints their names. It loads no program and changes nothing.
func OpenReader(c Config, held layout.Update) (_ *Datapath, err error) {
	c = c.withDefaults()
	d := &Datapath{config: c, maps: map[string]*ebpf.Map{}, pairs: map[pairID]*Pair{}}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	for _, name := range []string{bpf.MapSides, bpf.MapActive, bpf.MapCounters, bpf.MapLimits, bpf.MapEvents} {
		path := filepath.Join(c.tablesDir(), name)
		if d.maps[name], err = ebpf.LoadPinnedMap(path, nil); err != nil {
			return nil, fmt.Errorf("pinned map %s: %w", path, err)
		}
	}
	return d, d.readTables(held)
}

// readTables learns the numbers of rules from the side that judges, then gives
// the rows of the snapshot the same numbers.
func (d *Datapath) readTables(held layout.Update) error {
	tables := newTables(d.maps[bpf.MapSides], d.maps[bpf.MapActive])
	d.engine = engine{layout: layout.New(d.config.Layout), tables: tables}
	if err := tables.adopt(); err != nil {
		return err
	}
	active, err := tables.Active()
	if err != nil || tables.Len(active) == 0 {
		return err
	}
	lines, err := tables.Read(active)
	if err != nil {
		return err
	}
	d.engine.layout.AdoptRules(layout.RulesOf(lines))
	return d.engine.layout.Apply(held)
}
