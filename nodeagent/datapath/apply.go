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
	Grown      bool // the tables got twice the room, or more
	// Flipped is how long it took until the new state judged, Drain how long until
	// nothing judged by the old one, Total until both sides were the same again.
	Flipped, Drain, Total time.Duration

	tried bool // the layout took it, so that what went wrong is no refusal
}

// errDamaged says that a line read back is not the line written.
var errDamaged = errors.New("line read back differs from the line written")

// engine is a layout and the kernel's tables that it is written to.
type engine struct {
	layout *layout.Layout
	tables *Tables
	// grow loads programs for tables of another capacity; swap, which it returns,
	// makes them the ones that judge.
	grow func(capacity int) (t *Tables, swap func() error, err error)
	// undone says that the layout took an update back: its image was made anew, and
	// neither side has it.
	undone bool
	// undrained says that somebody may still judge by the side that is idle.
	undrained bool
	departed  []Departed // the first first
}

// apply takes an update in and makes the kernel judge by it. The layout refuses
// what it cannot hold before any line is written. Where writing fails, what judges
// is still whole: the old state before the flip, the new one after it.
func (e *engine) apply(ctx context.Context, u layout.Update) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	start := time.Now()
	if err := e.layout.Apply(u); err != nil {
		return Result{}, err
	}
	r, err := e.publish(start)
	r.tried = true
	if r.Flipped == 0 {
		// The rows of this update must not reach the kernel under the name of another.
		e.layout.Undo()
		e.undone = true
		return r, err
	}
	e.layout.Keep()
	return r, err
}

// publish makes the kernel judge by the layout. Until Flipped is set in the result,
// it judges as before.
func (e *engine) publish(start time.Time) (Result, error) {
	if e.layout.Len() > e.tables.Capacity() {
		return e.applyGrown(start)
	}
	var r Result
	active, err := e.tables.Active()
	if err != nil {
		return r, err
	}
	before := e.tables.Writes()
	idle := 1 - active
	if e.undrained {
		if err := e.drain(idle); err != nil {
			return r, err
		}
	}
	whole, err := e.sync(idle)
	if err != nil {
		return r, err
	}
	e.tables.Flip(idle)
	e.undone = false
	r.Generation, r.Digest = e.layout.Generation()
	r.Flipped = time.Since(start)
	drain := time.Now()
	if err := e.drain(active); err != nil {
		return r, err
	}
	r.Drain = time.Since(drain)
	second, err := e.sync(active)
	r.Rebuilt = whole || second
	r.Lines = e.tables.Writes() - before
	r.Total = time.Since(start)
	return r, err
}

// drain waits for those who judge by a side that is idle now. Until it succeeds, no
// line of that side may be written.
func (e *engine) drain(side int) error {
	err := e.tables.Drain(side)
	e.undrained = err != nil
	return err
}

// applyGrown fills new, bigger tables and lets their programs take over: that one
// write is the flip, and the old tables go with the programs that read them.
func (e *engine) applyGrown(start time.Time) (Result, error) {
	r := Result{Rebuilt: true, Grown: true}
	bigger, swap, err := e.grow(capacityFor(e.layout.Len()))
	if err != nil {
		return Result{}, err
	}
	old, undrained := e.tables, e.undrained
	e.tables, e.undrained = bigger, false
	back := func(err error) (Result, error) {
		e.tables, e.undrained = old, undrained
		e.layout.Lost(0)
		e.layout.Lost(1)
		return Result{}, errors.Join(err, bigger.Close())
	}
	for side := range 2 {
		e.layout.Lost(side)
		if _, err := e.sync(side); err != nil {
			return back(err)
		}
	}
	if err := swap(); err != nil {
		return back(err)
	}
	e.undone = false
	r.Generation, r.Digest = e.layout.Generation()
	r.Lines = bigger.Writes()
	r.Flipped = time.Since(start)
	r.Total = r.Flipped
	return r, old.Close()
}

// sync brings an idle, drained side up to date and checks it line by line.
func (e *engine) sync(side int) (whole bool, err error) {
	numbers, whole := e.layout.Pending(side)
	want, have := e.layout.Lines(), e.tables.Lines(side)
	if whole {
		e.markDirty(side)
		e.tables.WriteAll(side, want)
		for i := range want {
			if have[i] != want[i] {
				e.layout.Lost(side)
				return true, fmt.Errorf("side %d: line %d: %w", side, i, errDamaged)
			}
		}
		e.layout.Synced(side)
		return true, nil
	}
	if len(numbers) == 0 {
		return false, nil
	}
	e.markDirty(side)
	for _, i := range numbers {
		if i != sealLine {
			e.tables.Write(side, i, want[i])
		}
	}
	for _, i := range numbers {
		if i != sealLine && have[i] != want[i] {
			e.layout.Lost(side)
			return false, fmt.Errorf("side %d: line %d: %w", side, i, errDamaged)
		}
	}
	e.tables.Write(side, sealLine, want[sealLine])
	e.layout.Synced(side)
	return false, nil
}

// sealLine is written first, dirty, and last, clean.
const sealLine = 2

func (e *engine) markDirty(side int) {
	var line bpf.Line
	*line.Seal() = bpf.Seal{Format: bpf.Format, Dirty: 1}
	e.tables.Write(side, sealLine, line)
}
