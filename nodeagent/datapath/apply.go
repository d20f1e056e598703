package datapath

import (
	"context"
	"errors"
	"fmt"
	"time"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/snapshot"
)

// Result says what an Apply did.
type Result struct {
	// Generation and Digest are what the kernel judges by.
	Generation snapshot.Generation
	Digest     snapshot.Digest
	Lines      int  // written to both sides
	Rebuilt    bool // a side was written as a whole
	// Flipped is how long it took until the new state judged, Drain how long until
	// nothing judged by the old one, Total until both sides were the same again.
	Flipped, Drain, Total time.Duration
}

// errDamaged says that a line read back is not the line written.
var errDamaged = errors.New("line read back differs from the line written")

// engine is a layout and the kernel's tables that it is written to.
type engine struct {
	layout *layout.Layout
	tables *Tables
}

// apply takes an update in and makes the kernel judge by it. The layout refuses
// what it cannot hold before any line is written. Where writing fails, what judges
// is still whole: the old state before the flip, the new one after it.
func (e *engine) apply(ctx context.Context, u layout.Update) (Result, error) {
	var r Result
	if err := ctx.Err(); err != nil {
		return r, err
	}
	start := time.Now()
	if err := e.layout.Apply(u); err != nil {
		return r, err
	}
	active, err := e.tables.Active()
	if err != nil {
		return r, err
	}
	before := e.tables.Writes()
	idle := 1 - active
	whole, err := e.sync(idle)
	if err != nil {
		return r, err
	}
	if err := e.tables.Flip(idle); err != nil {
		return r, err
	}
	r.Generation, r.Digest = e.layout.Generation()
	r.Flipped = time.Since(start)
	drain := time.Now()
	if err := e.tables.Drain(active); err != nil {
		e.layout.Lost(active)
		return r, err
	}
	r.Drain = time.Since(drain)
	second, err := e.sync(active)
	r.Rebuilt = whole || second
	r.Lines = e.tables.Writes() - before
	r.Total = time.Since(start)
	return r, err
}

// sync brings an idle, drained side up to date and checks it line by line.
func (e *engine) sync(side int) (whole bool, err error) {
	defer func() {
		if err != nil {
			e.layout.Lost(side)
		}
	}()
	lines, whole := e.layout.Pending(side)
	if whole {
		if err := e.replace(side); err != nil {
			return true, err
		}
	} else if err := e.patch(side, lines); err != nil {
		return false, err
	}
	e.layout.Synced(side)
	return whole, nil
}

// replace writes a side as a whole: in place where the size is right, else anew.
func (e *engine) replace(side int) error {
	lines := e.layout.Lines()
	if e.tables.Len(side) != len(lines) {
		if err := e.tables.Replace(side, lines); err != nil {
			return err
		}
	} else {
		if err := e.markDirty(side); err != nil {
			return err
		}
		if err := e.tables.WriteAll(side, lines); err != nil {
			return err
		}
	}
	have, err := e.tables.Read(side)
	if err != nil {
		return err
	}
	for i := range lines {
		if have[i] != lines[i] {
			return fmt.Errorf("side %d: line %d: %w", side, i, errDamaged)
		}
	}
	return nil
}

// sealLine is written first, dirty, and last, clean.
const sealLine = 2

// patch writes the given lines of a side.
func (e *engine) patch(side int, lines []uint32) error {
	if len(lines) == 0 {
		return nil
	}
	if err := e.markDirty(side); err != nil {
		return err
	}
	for _, i := range lines {
		if i == sealLine {
			continue
		}
		if err := e.tables.Write(side, i, e.layout.Line(i)); err != nil {
			return err
		}
	}
	for _, i := range lines {
		if i == sealLine {
			continue
		}
		if line, err := e.tables.ReadLine(side, i); err != nil {
			return err
		} else if line != e.layout.Line(i) {
			return fmt.Errorf("side %d: line %d: %w", side, i, errDamaged)
		}
	}
	return e.tables.Write(side, sealLine, e.layout.Line(sealLine))
}

func (e *engine) markDirty(side int) error {
	var line bpf.Line
	*line.Seal() = bpf.Seal{Format: bpf.Format, Dirty: 1}
	return e.tables.Write(side, sealLine, line)
}
