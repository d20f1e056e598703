package datapath

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
)

// Tables are the two sides in the kernel and the word that says which one judges.
type Tables struct {
	sides  *ebpf.Map
	active *ebpf.Map
	inner  [2]*ebpf.Map
	writes int
}

func newTables(sides, active *ebpf.Map) *Tables {
	return &Tables{sides: sides, active: active}
}

// adopt opens the sides that are there already.
func (t *Tables) adopt() error {
	for side := range t.inner {
		var id ebpf.MapID
		if err := t.sides.Lookup(uint32(side), &id); errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("side %d: %w", side, err)
		}
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			return fmt.Errorf("side %d: map %d: %w", side, id, err)
		}
		t.inner[side] = m
	}
	return nil
}

// Close forgets the sides; the kernel keeps them.
func (t *Tables) Close() error {
	return errors.Join(t.inner[0].Close(), t.inner[1].Close())
}

// Writes counts the lines written so far, to either side.
func (t *Tables) Writes() int { return t.writes }

// Active is the side that judges.
func (t *Tables) Active() (int, error) {
	var word uint64
	if err := t.active.Lookup(uint32(0), &word); err != nil {
		return 0, fmt.Errorf("active word: %w", err)
	}
	return int(word & 1), nil
}

// Flip makes a side the one that judges.
func (t *Tables) Flip(side int) error {
	if err := t.active.Put(uint32(0), uint64(side)); err != nil {
		return fmt.Errorf("active word: %w", err)
	}
	return nil
}

// Drain waits until no processor judges by a side that was active before the last
// flip: a write to a map of maps ends when all its readers of before have.
func (t *Tables) Drain(side int) error {
	if t.inner[side] == nil {
		return nil
	}
	if err := t.sides.Put(uint32(side), t.inner[side]); err != nil {
		return fmt.Errorf("drain of side %d: %w", side, err)
	}
	return nil
}

// Len is the number of lines that a side has room for; 0 where there is none.
func (t *Tables) Len(side int) int {
	if t.inner[side] == nil {
		return 0
	}
	return int(t.inner[side].MaxEntries())
}

// Replace gives a side new lines. The side must be idle and drained.
func (t *Tables) Replace(side int, lines []bpf.Line) error {
	m, err := ebpf.NewMap(sideSpec(len(lines)))
	if err != nil {
		return fmt.Errorf("side %d of %d lines: %w", side, len(lines), err)
	}
	if err := t.write(m, 0, lines); err != nil {
		return errors.Join(fmt.Errorf("side %d: %w", side, err), m.Close())
	}
	if err := t.sides.Put(uint32(side), m); err != nil {
		return errors.Join(fmt.Errorf("side %d: %w", side, err), m.Close())
	}
	old := t.inner[side]
	t.inner[side] = m
	return old.Close()
}

// sideSpec describes a side. Memory that could be mapped begins on a page, so that
// no line lies in two cache lines.
func sideSpec(lines int) *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: "palisade_side", Type: ebpf.Array, KeySize: 4, ValueSize: bpf.LineSize,
		MaxEntries: uint32(lines), Flags: flagInnerMap | flagMmapable,
	}
}

// Flags of maps, as linux/bpf.h numbers them.
const (
	flagMmapable = 1 << 10
	flagInnerMap = 1 << 12
)

// batch bounds the lines of one system call.
const batch = 4096

// WriteAll overwrites a side's lines, from the first on.
func (t *Tables) WriteAll(side int, lines []bpf.Line) error {
	if err := t.write(t.inner[side], 0, lines); err != nil {
		return fmt.Errorf("side %d: %w", side, err)
	}
	return nil
}

func (t *Tables) write(m *ebpf.Map, first uint32, lines []bpf.Line) error {
	keys := make([]uint32, 0, batch)
	for len(lines) > 0 {
		n := min(len(lines), batch)
		keys = keys[:0]
		for i := range n {
			keys = append(keys, first+uint32(i))
		}
		if _, err := m.BatchUpdate(keys, lines[:n], nil); err != nil {
			return fmt.Errorf("lines %d to %d: %w", first, first+uint32(n)-1, err)
		}
		t.writes += n
		first += uint32(n)
		lines = lines[n:]
	}
	return nil
}

// Write sets one line of a side.
func (t *Tables) Write(side int, number uint32, line bpf.Line) error {
	if err := t.inner[side].Put(number, &line); err != nil {
		return fmt.Errorf("side %d: line %d: %w", side, number, err)
	}
	t.writes++
	return nil
}

// ReadLine reads one line of a side.
func (t *Tables) ReadLine(side int, number uint32) (bpf.Line, error) {
	var line bpf.Line
	if err := t.inner[side].Lookup(number, &line); err != nil {
		return line, fmt.Errorf("side %d: line %d: %w", side, number, err)
	}
	return line, nil
}

// Read reads all lines of a side.
func (t *Tables) Read(side int) ([]bpf.Line, error) {
	lines := make([]bpf.Line, t.Len(side))
	keys := make([]uint32, len(lines))
	var cursor ebpf.MapBatchCursor
	for read := 0; read < len(lines); {
		n, err := t.inner[side].BatchLookup(&cursor, keys[read:], lines[read:], nil)
		read += n
		if err != nil && !(errors.Is(err, ebpf.ErrKeyNotExist) && read == len(lines)) {
			return nil, fmt.Errorf("side %d: lines from %d: %w", side, read, err)
		}
	}
	runtime.KeepAlive(keys)
	return lines, nil
}
