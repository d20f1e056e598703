package main

import (
	"context"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/snapshot"
)

// writer brings the tables from one world to the other.
type writer interface {
	step(*datapath.Trial, layout.Update) error
	String() string
}

// leftRight is what the agent does.
type leftRight struct{}

func (leftRight) String() string { return "left-right" }

func (leftRight) step(t *datapath.Trial, u layout.Update) error {
	_, err := t.Apply(context.Background(), u)
	return err
}

// lineByLine writes every changed line into the side that judges.
type lineByLine struct{}

func (lineByLine) String() string { return "line by line" }

func (lineByLine) step(t *datapath.Trial, u layout.Update) error {
	if err := t.Layout().Apply(u); err != nil {
		return err
	}
	side, err := t.Tables().Active()
	if err != nil {
		return err
	}
	write(t, side)
	return nil
}

// write brings a side up to date, whoever may be reading it.
func write(t *datapath.Trial, side int) {
	lines, whole := t.Layout().Pending(side)
	if whole {
		t.Tables().WriteAll(side, t.Layout().Lines())
	}
	for _, i := range lines {
		t.Tables().Write(side, i, t.Layout().Line(i))
	}
	t.Layout().Synced(side)
}

// undrained writes the idle side and flips, but waits for nobody: a verdict that read
// the active word before the flip may still have all its lines to read.
type undrained struct{}

func (undrained) String() string { return "no drain" }

func (undrained) step(t *datapath.Trial, u layout.Update) error {
	if err := t.Layout().Apply(u); err != nil {
		return err
	}
	active, err := t.Tables().Active()
	if err != nil {
		return err
	}
	write(t, 1-active)
	t.Tables().Flip(1 - active)
	write(t, active)
	return nil
}

// apart flips who has which address first, and what that means after it.
type apart struct{}

func (apart) String() string { return "addresses apart from policy" }

func (apart) step(t *datapath.Trial, u layout.Update) error {
	addresses, policy := u, u
	addresses.Delta, policy.Delta = snapshot.Delta{}, snapshot.Delta{}
	for _, e := range u.Delta.Upserts {
		part := &policy.Delta
		if e.Table == snapshot.TableAddress {
			part = &addresses.Delta
		}
		part.Upserts = append(part.Upserts, e)
	}
	policy.Delta.Deletes = u.Delta.Deletes
	for _, half := range []layout.Update{addresses, policy} {
		if _, err := t.Apply(context.Background(), half); err != nil {
			return err
		}
	}
	return nil
}
