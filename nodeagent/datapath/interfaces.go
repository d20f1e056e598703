package datapath

import (
	"fmt"

	"palisade.dev/palisade/bpf"
)

// Traffic is what came in by the interfaces of a cell since the maps were made.
type Traffic struct{ Packets, Bytes uint64 }

// Cell counts what comes in by an interface. Interfaces may share one.
type Cell uint32

// CellOf is the cell of the interface with a number.
func CellOf(ifindex uint32) Cell { return Cell(ifindex % bpf.InterfaceCells) }

// CameIn reads what the guard saw come in, whatever became of it. Packets are whole:
// after reassembly of fragments, before segmentation; bytes begin with the header of
// the network layer.
func (d *Datapath) CameIn(cells []Cell) (map[Cell]Traffic, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.maps[bpf.MapIfaces]
	if !ok {
		return nil, errClosed
	}
	out := make(map[Cell]Traffic, len(cells))
	values := make([]bpf.Counter, processors())
	for _, cell := range cells {
		if err := m.Lookup(uint32(cell), &values); err != nil {
			return nil, fmt.Errorf("counter of interfaces, cell %d: %w", cell, err)
		}
		var t Traffic
		for _, v := range values {
			t.Packets += v.Packets
			t.Bytes += v.Bytes
		}
		out[cell] = t
	}
	return out, nil
}
