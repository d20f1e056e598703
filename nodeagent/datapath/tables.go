package datapath

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
)

// Tables are the two sides in the kernel and the word that says which one judges.
// A side is one value of a map, mapped into this process, so that a program reaches
// every line without a call and the agent writes lines without a system call.
type Tables struct {
	sides  *ebpf.Map
	active *ebpf.Map
	inner  [2]*ebpf.Map
	lines  [2][]bpf.Line
	mapped [2][]byte
	word   []byte // the active word's page
	writes int
}

// minCapacity is the room of a new side in lines; tables double as they must.
const minCapacity = 1 << 12

// capacityFor is the room of a side that must hold n lines: a power of two.
func capacityFor(n int) int {
	return max(minCapacity, 1<<bits.Len(uint(max(n, 1)-1)))
}

// sideSpec describes a side.
func sideSpec(capacity int) *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: "palisade_side", Type: ebpf.Array, KeySize: 4, ValueSize: uint32(capacity * bpf.LineSize),
		MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE,
	}
}

// fitSpec makes programs and the outer map expect sides of a capacity, and an active
// word that can be mapped.
func fitSpec(spec *ebpf.CollectionSpec, capacity int) error {
	spec.Maps[bpf.MapActive].Flags |= unix.BPF_F_MMAPABLE
	spec.Maps[bpf.MapSides].InnerMap.ValueSize = uint32(capacity * bpf.LineSize)
	if err := spec.Variables[bpf.VariableLineMask].Set(uint32(capacity - 1)); err != nil {
		return fmt.Errorf("variable %s: %w", bpf.VariableLineMask, err)
	}
	return nil
}

// newTables makes both sides, empty. With a directory they are pinned there.
func newTables(capacity int, dir string) (_ *Tables, err error) {
	spec, err := bpf.Trial.Spec()
	if err != nil {
		return nil, err
	}
	if err := fitSpec(spec, capacity); err != nil {
		return nil, err
	}
	t := &Tables{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.sides, err = newMap(spec.Maps[bpf.MapSides], dir); err != nil {
		return nil, err
	}
	if t.active, err = newMap(spec.Maps[bpf.MapActive], dir); err != nil {
		return nil, err
	}
	for side := range t.inner {
		m, err := ebpf.NewMap(sideSpec(capacity))
		if err != nil {
			return nil, fmt.Errorf("side of %d lines: %w", capacity, explain(err))
		}
		t.inner[side] = m
		if err := t.sides.Put(uint32(side), m); err != nil {
			return nil, fmt.Errorf("side %d: %w", side, err)
		}
		if err := t.mapSide(side); err != nil {
			return nil, err
		}
	}
	return t, t.mapWord()
}

// newMap makes a map and, with a directory, pins it for root only.
func newMap(spec *ebpf.MapSpec, dir string) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", spec.Name, explain(err))
	}
	if dir == "" {
		return m, nil
	}
	path := filepath.Join(dir, spec.Name)
	if err := m.Pin(path); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: map %s: %w", ErrPinDir, path, err), m.Close())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("map %s: %w", path, err), m.Close())
	}
	return m, nil
}

// openTables opens the tables that are pinned in a directory.
func openTables(dir string) (_ *Tables, err error) {
	t := &Tables{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.sides, err = ebpf.LoadPinnedMap(filepath.Join(dir, bpf.MapSides), nil); err != nil {
		return nil, fmt.Errorf("pinned map %s/%s: %w", dir, bpf.MapSides, err)
	}
	if t.active, err = ebpf.LoadPinnedMap(filepath.Join(dir, bpf.MapActive), nil); err != nil {
		return nil, fmt.Errorf("pinned map %s/%s: %w", dir, bpf.MapActive, err)
	}
	for side := range t.inner {
		var id ebpf.MapID
		if err := t.sides.Lookup(uint32(side), &id); err != nil {
			return nil, fmt.Errorf("side %d: %w", side, err)
		}
		if t.inner[side], err = ebpf.NewMapFromID(id); err != nil {
			return nil, fmt.Errorf("side %d: map %d: %w", side, id, err)
		}
		if err := t.mapSide(side); err != nil {
			return nil, err
		}
	}
	return t, t.mapWord()
}

func (t *Tables) mapWord() error {
	var err error
	t.word, err = unix.Mmap(t.active.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", bpf.MapActive, err)
	}
	return nil
}

func (t *Tables) mapSide(side int) error {
	size := int(t.inner[side].ValueSize())
	mem, err := unix.Mmap(t.inner[side].FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map side %d of %d bytes: %w", side, size, err)
	}
	t.mapped[side] = mem
	t.lines[side] = unsafe.Slice((*bpf.Line)(unsafe.Pointer(unsafe.SliceData(mem))), size/bpf.LineSize)
	return nil
}

// Close forgets the sides; the kernel keeps what is pinned or in use.
func (t *Tables) Close() error {
	if t == nil {
		return nil
	}
	errs := []error{t.sides.Close(), t.active.Close()}
	if t.word != nil {
		errs = append(errs, unix.Munmap(t.word))
		t.word = nil
	}
	for side := range t.inner {
		if t.mapped[side] != nil {
			errs = append(errs, unix.Munmap(t.mapped[side]))
			t.mapped[side], t.lines[side] = nil, nil
		}
		errs = append(errs, t.inner[side].Close())
	}
	return errors.Join(errs...)
}

// Capacity is the room of a side in lines.
func (t *Tables) Capacity() int { return len(t.lines[0]) }

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

// Flip makes a side the one that judges. Who reads the new word must see every line
// written before it. A system call would not promise that where the processor may
// reorder stores, as arm64 does: entering the kernel is no barrier there, and the
// kernel copies the value of a map as plain memory. An atomic store has at least
// release ordering, and the programs reach the lines by way of the word that they
// read, which orders the other half.
func (t *Tables) Flip(side int) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(unsafe.SliceData(t.word))), uint64(side))
}

// Drain waits until no processor judges by a side that was active before the last
// flip: a write to a map of maps ends when all its readers of before have.
func (t *Tables) Drain(side int) error {
	if err := t.sides.Put(uint32(side), t.inner[side]); err != nil {
		return fmt.Errorf("drain of side %d: %w", side, err)
	}
	return nil
}

// Write sets one line of a side.
func (t *Tables) Write(side int, number uint32, line bpf.Line) {
	t.lines[side][number] = line
	t.writes++
}

// WriteAll sets a side's lines from the first on.
func (t *Tables) WriteAll(side int, lines []bpf.Line) {
	t.writes += copy(t.lines[side], lines)
}

// Lines are what the kernel has. They change under the reader's eyes.
func (t *Tables) Lines(side int) []bpf.Line { return t.lines[side] }
