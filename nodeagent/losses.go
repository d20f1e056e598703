package nodeagent

import (
	"sync"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/snapshot"
)

// lostSoFar counts the records that were not delivered: those that found the kernel's
// ring full, and by rule those over its rate.
func (p *Pinned) lostSoFar(a *Agent) (ring uint32, by []datapath.Counter, err error) {
	if ring, err = p.RingLost(); err != nil {
		return 0, nil, err
	}
	if by, err = p.Counters(); err != nil {
		return 0, nil, err
	}
	return ring, append(by, a.observed.counters()...), nil
}

// lostBy is why records were lost: over the rate of a rule, or (zero) the ring was full.
type lostBy struct {
	rule    snapshot.RuleID
	builtin string
}

// lost is how many records are missing.
type lost struct {
	datapath.Attribution
	by lostBy
	n  uint64
}

// losses turns counts that grow into what was added. One may also shrink, when a rule
// goes and takes its count along.
type losses struct {
	read func() (ring uint32, by []datapath.Counter, err error)
	last map[lostBy]uint64
}

// since lists what was lost since the last call, the ring's first and then by rule, in
// the order of read.
func (l *losses) since() ([]lost, error) {
	ring, by, err := l.read()
	if err != nil {
		return nil, err
	}
	all, at := []lost{{n: uint64(ring)}}, map[lostBy]int{{}: 0}
	for _, c := range by {
		key := lostBy{c.Rule, c.Builtin}
		i, ok := at[key]
		if !ok {
			i = len(all)
			at[key] = i
			all = append(all, lost{Attribution: c.Attribution, by: key})
		}
		all[i].n += uint64(c.Lost)
	}
	was := l.last
	l.last = make(map[lostBy]uint64, len(all))
	var out []lost
	for _, x := range all {
		l.last[x.by] = x.n
		if x.n > was[x.by] {
			x.n -= was[x.by]
			out = append(out, x)
		}
	}
	return out, nil
}

// observed counts what the rules did that the agent judges by itself.
type observed struct {
	mu sync.Mutex
	by map[snapshot.RuleID]*observedRule
}

type observedRule struct {
	matches uint64
	lost    uint32
	second  uint64
	sent    uint32 // in this second
}

// count adds a match of a rule and reports whether it may be told, where so many are in
// one second.
func (o *observed) count(id snapshot.RuleID, second uint64, limit uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.by[id]
	if r == nil {
		r = &observedRule{}
		if o.by == nil {
			o.by = map[snapshot.RuleID]*observedRule{}
		}
		o.by[id] = r
	}
	r.matches++
	if r.second != second {
		r.second, r.sent = second, 0
	}
	if r.sent >= limit {
		r.lost++
		return false
	}
	r.sent++
	return true
}

// keep forgets the rules that are not among those given.
func (o *observed) keep(rules map[snapshot.RulesetID][]commandRule) {
	o.mu.Lock()
	defer o.mu.Unlock()
	have := map[snapshot.RuleID]bool{}
	for _, list := range rules {
		for _, r := range list {
			have[r.ID] = true
		}
	}
	for id := range o.by {
		if !have[id] {
			delete(o.by, id)
		}
	}
}

// counters are the counts as the kernel's are.
func (o *observed) counters() []datapath.Counter {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []datapath.Counter
	for id, r := range o.by {
		c := datapath.Counter{Bytes: r.matches, Lost: r.lost}
		c.Rule = id
		out = append(out, c)
	}
	return out
}
