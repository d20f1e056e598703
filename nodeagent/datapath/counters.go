package datapath

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/snapshot"
)

// Counter counts what one rule decided, on all processors, since the rule came.
type Counter struct {
	Attribution
	// Of a runtime rule, Packets are the operations that it decided, and Bytes those that
	// it would have decided where it is only observed.
	Packets, Bytes uint64
	Lost           uint32 // events over the limit
}

// builtins are the rule slots that count without a row.
var builtins = []bpf.RuleSlot{
	bpf.RuleBroken, bpf.RuleNobody, bpf.RuleSelf, bpf.RuleOwnNode, bpf.RuleSpoofed,
	bpf.RuleUnbound, bpf.RuleGroup, bpf.RuleDiscovery, bpf.RuleMalformed,
}

// processors is how many values a per-CPU map has.
func processors() int { return ebpf.MustPossibleCPU() }

// Counters lists the rules in force and the built-in ones, in the order of their slots.
func (d *Datapath) Counters() ([]Counter, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.maps) == 0 {
		return nil, errClosed
	}
	slots := append(append([]bpf.RuleSlot{}, builtins...), d.engine.layout.RuleSlots()...)
	out := make([]Counter, 0, len(slots))
	values := make([]bpf.Counter, processors())
	for _, slot := range slots {
		if err := d.maps[bpf.MapCounters].Lookup(uint32(slot), &values); err != nil {
			return nil, fmt.Errorf("counter of rule slot %d: %w", slot, err)
		}
		var limit bpf.Limit
		if err := d.maps[bpf.MapLimits].Lookup(uint32(slot), &limit); err != nil {
			return nil, fmt.Errorf("limit of rule slot %d: %w", slot, err)
		}
		c := Counter{Attribution: d.attribution(uint32(slot)), Lost: limit.Lost}
		for _, v := range values {
			c.Packets += v.Packets
			c.Bytes += v.Bytes
		}
		out = append(out, c)
	}
	return out, nil
}

var errClosed = errors.New("datapath closed")

// RingLost counts the events that found the ring full: nobody read fast enough.
func (d *Datapath) RingLost() (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.maps) == 0 {
		return 0, errClosed
	}
	var limit bpf.Limit
	if err := d.maps[bpf.MapLimits].Lookup(uint32(bpf.RuleNone), &limit); err != nil {
		return 0, fmt.Errorf("limit of rule slot %d: %w", bpf.RuleNone, err)
	}
	return limit.Lost, nil
}

// Pair counts the new connections of a local endpoint with a class of peers, by the
// rule that decided.
type Pair struct {
	Subject     layout.Local
	Egress      bool
	Peer        []snapshot.GroupID // the groups that the peers are in
	Rule        Attribution
	Connections uint64
	Last        time.Time
}

// pairID tells pairs apart while they are collected.
type pairID struct {
	uid     string
	egress  bool
	peer    string
	rule    snapshot.RuleID
	builtin string
}

// Pairs takes what was counted since the last call.
func (d *Datapath) Pairs() ([]Pair, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.maps) == 0 {
		return nil, errClosed
	}
	err := d.collectPairs()
	out := make([]Pair, 0, len(d.pairs))
	for _, p := range d.pairs {
		out = append(out, *p)
	}
	clear(d.pairs)
	return out, err
}

// collectPairs moves counts out of the kernel while the numbers that they are kept
// under still mean what they meant.
func (d *Datapath) collectPairs() error {
	m := d.maps[bpf.MapPairs]
	keys := make([]bpf.PairKey, d.config.MaxPairs)
	values := make([]bpf.Pair, d.config.MaxPairs)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookupAndDelete(&cursor, keys, values, nil)
		for i := range n {
			d.addPair(keys[i], values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pairs: %w", err)
		}
	}
}

func (d *Datapath) addPair(k bpf.PairKey, v bpf.Pair) {
	subject, ok := d.engine.layout.Slot(k.Slot)
	if !ok || d.engine.undone {
		return // an image made anew gave its numbers anew: better uncounted than another's
	}
	p := Pair{
		Subject: subject, Egress: k.Rule&bpf.WordDeny != 0,
		Peer: d.engine.layout.PeerGroups(k.Class), Rule: d.attribution(k.Rule & bpf.WordRule),
		Connections: v.Connections, Last: time.Now().Add(time.Duration(v.Last) - monotonic()),
	}
	id := pairID{uid: subject.UID, egress: p.Egress, peer: fmt.Sprint(p.Peer), rule: p.Rule.Rule, builtin: p.Rule.Builtin}
	if old, ok := d.pairs[id]; ok {
		old.Connections += p.Connections
		if p.Last.After(old.Last) {
			old.Last = p.Last
		}
		return
	}
	if len(d.pairs) < int(d.config.MaxPairs) {
		d.pairs[id] = &p
	}
}
