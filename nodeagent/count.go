package nodeagent

import (
	"context"
	"sync"
	"time"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// pairKey names who met whom by which rule, in the numbers of the snapshot.
type pairKey struct {
	subject snapshot.KindID
	peer    snapshot.SetID
	rule    snapshot.RuleID
}

// maxPairs bounds what a report carries, well below wire.MaxMessage.
const maxPairs = 8192

// counted gathers counters between two reports.
type counted struct {
	mu     sync.Mutex
	pairs  map[pairKey]uint64
	lost   uint64 // connections that found no room in pairs
	totals []datapath.Counter
}

func newCounted() *counted { return &counted{pairs: map[pairKey]uint64{}} }

func (c *counted) add(k pairKey, connections uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.pairs[k]; !ok && len(c.pairs) >= maxPairs {
		c.lost += connections
		return
	}
	c.pairs[k] += connections
}

// take returns the counters for a report and begins anew.
func (c *counted) take() (_ []*wire.Counter, lost uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*wire.Counter, 0, len(c.pairs))
	for k, n := range c.pairs {
		out = append(out, &wire.Counter{Subject: k.subject[:], Peer: k.peer[:], Rule: k.rule[:], Connections: n})
	}
	clear(c.pairs)
	lost, c.lost = c.lost, 0
	return out, lost
}

func (c *counted) rules() []datapath.Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.totals
}

func (c *counted) setRules(totals []datapath.Counter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals = totals
}

// countEvery is how often counters are read: the kernel forgets pairs when there
// are too many of them.
const countEvery = 10 * time.Second

func (a *Agent) counting(ctx context.Context, dp Datapath, around *bypass) {
	every(ctx, countEvery, func() {
		// Interfaces first: what comes in between, only the hook has counted.
		around.read(a)
		pairs, totals, err := dp.Count()
		if err != nil {
			if ctx.Err() == nil {
				a.o.Log.Error(err, "counters")
			}
			return
		}
		a.counted.setRules(append(totals, a.observed.counters()...))
		a.found(fromCounters, around.look(packetsOfPods(totals)))
		for _, p := range pairs {
			// Pairs of built-in rules have no number, nor have pods that are gone.
			if local, ok := a.holding.local(facts.PodUID(p.Subject.UID)); ok && p.Rule.Rule != (snapshot.RuleID{}) {
				a.counted.add(pairKey{local.Kind, snapshot.SetOf(p.Peer), p.Rule.Rule}, p.Connections)
			}
		}
	})
}

// ruleOf tells what decided.
func (a *Agent) ruleOf(x datapath.Attribution) flows.Decision {
	return newNamer(a.holding, a.o.Facts.Bindings).decision(x)
}

// cutPause is the least time between two looks at the table of connections, which
// may be long.
const cutPause = time.Second

func (a *Agent) needCut() {
	select {
	case a.cut <- struct{}{}:
	default:
	}
}

// cutting ends, after a flip or a denial, the connections whose original direction
// is denied now: the kernel judges both directions of a connection alike, so that
// one that was opened the wrong way round would stay denied.
func (a *Agent) cutting(ctx context.Context, dp Datapath) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.cut:
		}
		n, err := dp.Cut(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			a.o.Log.Error(err, "connections that are denied now were not ended")
		case n > 0:
			a.o.Log.V(1).Info("connections that are denied now were ended", "count", n)
		}
		t.Reset(cutPause)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
