package nodeagent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
)

// Pinned is the datapath of package datapath as an agent uses it.
type Pinned struct {
	*datapath.Datapath
	log logr.Logger

	runtime  *runtime.Runtime // nil: packets alone are judged
	lacks    error            // why there is none, where there should be one
	proc     string
	complete bool // processes that ran before are remembered
}

// OpenDatapath loads or adopts the kernel's half.
func OpenDatapath(c datapath.Config, log logr.Logger) (*Pinned, error) {
	d, err := datapath.Open(c)
	if err != nil {
		return nil, err
	}
	return &Pinned{Datapath: d, log: log}, nil
}

// OpenWithRuntime loads or adopts the kernel's half of packets and of runtime rules.
// Where the kernel cannot have the programs for packets, it goes without these; where it
// cannot have those for runtime rules, packets alone are judged and the backends say why.
func OpenWithRuntime(c datapath.Config, rc runtime.Config, log logr.Logger) (*Pinned, error) {
	alone := func(why error) (*Pinned, error) {
		p, err := OpenDatapath(c, log)
		if err != nil {
			return nil, errors.Join(err, why)
		}
		log.Error(why, "what processes do is not judged on this node")
		p.lacks = why
		return p, nil
	}
	rc.PinDir, rc.Log = c.CompanionDir(), log.WithName("runtime")
	if err := datapath.CheckPinDir(rc.PinDir); err != nil {
		return nil, err
	}
	r, err := runtime.Open(rc)
	if err != nil {
		return alone(fmt.Errorf("runtime programs: %w", err))
	}
	with := c
	with.Companion = r
	d, err := datapath.Open(with)
	if err != nil {
		return alone(errors.Join(err, r.Close()))
	}
	return &Pinned{Datapath: d, log: log, runtime: r, proc: cmp.Or(rc.Proc, "/proc")}, nil
}

// Close lets go of the kernel, which goes on enforcing.
func (p *Pinned) Close() error {
	err := p.Datapath.Close()
	if p.runtime != nil {
		err = errors.Join(err, p.runtime.Close())
	}
	return err
}

// Apply takes an update entirely or not at all.
func (p *Pinned) Apply(ctx context.Context, u layout.Update) error {
	r, err := p.Datapath.Apply(ctx, u)
	if err == nil {
		err = p.keyed(u)
		p.log.V(1).Info("tables written", "lines", r.Lines, "rebuilt", r.Rebuilt, "flipped", r.Flipped.String(), "drain", r.Drain.String(), "total", r.Total.String())
	}
	return err
}

// Cut ends the connections that are denied now.
func (p *Pinned) Cut(ctx context.Context) (int, error) { return p.CutDenied(ctx) }

// Count takes the pairs counted since the last call, and the totals of rules.
func (p *Pinned) Count() ([]datapath.Pair, []datapath.Counter, error) {
	pairs, err := p.Pairs()
	if err != nil {
		return nil, nil, err
	}
	totals, err := p.Counters()
	return pairs, totals, err
}

// Audit compares the kernel with what was applied, repairs it, and describes what
// it found.
func (p *Pinned) Audit(ctx context.Context) (string, error) {
	drift, err := p.Datapath.Audit(ctx)
	return drift.String(), err
}

// lossEvery is how often lost records are looked for.
const lossEvery = time.Second

// Flows hands on what the kernel reports, until ctx ends.
func (p *Pinned) Flows(ctx context.Context, a *Agent, hub *flows.Hub) error {
	events, err := p.Events()
	if err != nil {
		return err
	}
	defer events.Close()
	stop := context.AfterFunc(ctx, func() { _ = events.Close() })
	defer stop()
	names := newNamer(a.holding, a.o.Facts.Bindings)
	lost := losses{read: func() (uint32, []datapath.Counter, error) { return p.lostSoFar(a) }}
	if _, err := lost.since(); err != nil { // what was lost before this agent is not its to tell
		return err
	}
	next := time.Now()
	for {
		events.SetDeadline(next)
		e, err := events.Read()
		switch {
		case err == nil:
			f := names.flow(e)
			f.Node = a.o.Node
			hub.Publish(f)
			if e.Denied && e.State != datapath.StateNew {
				a.needCut()
			}
		case errors.Is(err, datapath.ErrClosed):
			return nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("events: %w", err)
		}
		if now := time.Now(); !now.Before(next) {
			next = now.Add(lossEvery)
			some, err := lost.since()
			if err != nil {
				return err
			}
			for _, l := range some {
				by := flows.Decision{}
				if l.by != (lostBy{}) {
					by = names.decision(l.Attribution)
				}
				hub.Lost(l.n, by)
				a.LostFlows(l.n)
			}
		}
	}
}

// interfaceName is what people know an interface by, or its number.
func interfaceName(index uint32) string {
	if index == 0 {
		return ""
	}
	i, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return fmt.Sprintf("#%d", index)
	}
	return i.Name
}

// portOf leaves out what is no port.
func portOf(a netip.AddrPort, protocol uint8) uint16 {
	switch protocol {
	case 6, 17, 132:
		return a.Port()
	}
	return 0
}
