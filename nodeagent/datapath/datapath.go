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

// Stats counts what a datapath did since Open.
type Stats struct {
	Applies, Refusals, Failures int
	Lines                       int // written
	Rebuilds                    int
	Damaged                     int // sides found not as they were left
	Repairs                     int // by audits
	LastApply, LastDrain        time.Duration
	Size                        layout.Size
}

// Stats of now.
func (d *Datapath) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Size = d.engine.layout.Size()
	return s
}

// Generation is what the kernel judges by; zero if nothing was ever applied.
func (d *Datapath) Generation() (snapshot.Generation, snapshot.Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation, d.digest
}

// Adopted reports whether Open found tables in force that were whole.
func (d *Datapath) Adopted() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.adopted
}

// Apply takes an update entirely or not at all. On error the kernel judges as
// before, unless the result names the new generation: then it judges by that, and
// only the other side is behind, which the next Apply or Audit mends.
func (d *Datapath) Apply(ctx context.Context, u layout.Update) (Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.engine.layout.Ready() && !u.Full {
		return Result{}, ErrNotFull
	}
	if d.engine.tables == nil {
		return Result{}, errClosed
	}
	first := !d.engine.layout.Ready() || d.deferred
	var adopted map[bpf.RuleSlot]snapshot.RuleID
	if first {
		adopted = d.engine.layout.RuleIDs()
	}
	if err := d.collectPairs(); err != nil {
		return Result{}, err
	}
	r, err := d.engine.apply(ctx, u)
	if r.Flipped == 0 {
		if r.tried {
			d.stats.Failures++
		} else {
			d.stats.Refusals++
		}
		return r, err
	}
	if d.deferred {
		// Nothing judges by these tables yet, nor is anything in force if that fails.
		if placed := d.takePlace(d.programs); placed != nil {
			d.stats.Failures++
			return Result{}, errors.Join(placed, err)
		}
		d.deferred = false
	}
	d.generation, d.digest = r.Generation, r.Digest
	d.stats.Applies++
	d.stats.Lines += r.Lines
	d.stats.LastApply, d.stats.LastDrain = r.Total, r.Drain
	if r.Rebuilt {
		d.stats.Rebuilds++
	}
	if err != nil {
		d.stats.Failures++
		return r, err
	}
	if first || r.Grown {
		if err := d.removeOthers(); err != nil {
			return r, err
		}
	}
	return r, d.releaseRules(adopted)
}

// releaseRules clears the counters of rules that are gone, so that their slots can
// serve others.
func (d *Datapath) releaseRules(adopted map[bpf.RuleSlot]snapshot.RuleID) error {
	leaving := d.engine.layout.Leaving()
	d.engine.depart(leaving, adopted)
	for _, slot := range leaving {
		if err := d.maps[bpf.MapCounters].Put(uint32(slot), make([]bpf.Counter, processors())); err != nil {
			return fmt.Errorf("counter of rule slot %d: %w", slot, err)
		}
		if err := d.maps[bpf.MapLimits].Put(uint32(slot), bpf.Limit{}); err != nil {
			return fmt.Errorf("limit of rule slot %d: %w", slot, err)
		}
	}
	if len(leaving) > 0 {
		d.engine.layout.Released()
	}
	return nil
}

// Judge asks the verdict in force about connections. It changes no counter.
func (d *Datapath) Judge(connections []Connection) ([]Outcome, error) {
	questions := make([]bpf.Question, len(connections))
	for i, c := range connections {
		q, err := c.question()
		if err != nil {
			return nil, err
		}
		questions[i] = q
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	raw, err := d.ask(questions)
	if err != nil {
		return nil, err
	}
	out := make([]Outcome, len(raw))
	for i, o := range raw {
		out[i] = Outcome{Egress: d.engine.judgement(o.Egress), Ingress: d.engine.judgement(o.Ingress)}
	}
	return out, nil
}

// ask runs questions, any number of them, on the tables in force.
func (d *Datapath) ask(questions []bpf.Question) ([]bpf.Outcome, error) {
	if d.judge == nil {
		if d.engine.tables == nil {
			return nil, errClosed
		}
		t := &Trial{options: TrialOptions{Questions: defaultQuestions}, shared: true}
		if err := t.load(d.engine.tables); err != nil {
			return nil, err
		}
		d.judge = t
	}
	out := make([]bpf.Outcome, 0, len(questions))
	for len(questions) > 0 {
		n := min(len(questions), defaultQuestions)
		answers, err := d.judge.answer(questions[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, answers...)
		questions = questions[n:]
	}
	return out, nil
}
