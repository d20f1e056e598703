package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

// result is what a race found.
type result struct {
	verdicts, flips, mixed  int
	took, applying, slowest time.Duration
	example                 string
}

func (r result) String() string {
	return fmt.Sprintf("verdicts=%d flips=%d mixed=%d", r.verdicts, r.flips, r.mixed)
}

// threads judge at the same time: two, or more where there are processors.
func threads() int { return max(2, runtime.NumCPU()-1) }

// pace is how threads judge.
type pace struct {
	// hold is for how many steps each verdict is held up in its middle. A writer that
	// does not wait for it then writes what it is about to read; otherwise a verdict
	// is over before the writer gets to that.
	hold   uint32
	batch  int // how many questions one test-run judges, and a drain waits for
	rounds int // how often the same questions are asked before others are
	// twice: only questions that may be judged twice, for they are held up twice.
	twice bool
}

var (
	atOnce = pace{batch: 256, rounds: 64}
	held   = pace{hold: 200_000, batch: 16, rounds: 1, twice: true} // about half a millisecond
)

// race judges while a writer swaps the worlds, until enough says so.
func race(w writer, p pace, enough func(result) bool) (result, error) {
	worlds := [2]*rowtest.Builder{world(0), world(1)}
	sets := [2]*snapshot.Set{worlds[0].Set(), worlds[1].Set()}
	steps := [2]snapshot.Delta{snapshot.Diff(sets[1], sets[0]), snapshot.Diff(sets[0], sets[1])}

	t, err := datapath.NewTrial(datapath.TrialOptions{Questions: threads() * p.batch, Lines: 1 << 13, Layout: layout.Options{Unbound: layout.UnboundAllow},
		Variables: map[string]any{bpf.VariableHoldSteps: p.hold}})
	if err != nil {
		return result{}, err
	}
	defer t.Close()
	if _, err := t.Apply(context.Background(), layout.Update{Full: true, Delta: worlds[0].Full()}); err != nil {
		return result{}, err
	}
	all, err := pairs(worlds, t.Layout())
	if err != nil {
		return result{}, err
	}
	if p.twice {
		all = slices.DeleteFunc(all, func(x pair) bool { return !x.mayBeReversed() })
	}

	var verdicts, mixed, flips atomic.Int64
	var example atomic.Pointer[string]
	stop := make(chan struct{})
	failures := make(chan error, threads())
	var judges sync.WaitGroup
	for i := range threads() {
		judges.Go(func() {
			j := judge{pace: p, trial: t, first: i * p.batch, pairs: all, at: i * len(all) / threads()}
			for {
				select {
				case <-stop:
					return
				default:
				}
				n, bad, what, err := j.once()
				if err != nil {
					failures <- err
					return
				}
				verdicts.Add(int64(n))
				if bad > 0 {
					mixed.Add(int64(bad))
					example.CompareAndSwap(nil, &what)
				}
			}
		})
	}

	r := result{}
	start := time.Now()
	var failed error
	for number := uint64(1); failed == nil && !enough(r); number++ {
		begin := time.Now()
		failed = w.step(t, layout.Update{Generation: snapshot.Generation{Counter: number}, Delta: steps[number%2]})
		took := time.Since(begin)
		r.applying += took
		r.slowest = max(r.slowest, took)
		flips.Add(1)
		r.verdicts, r.mixed, r.flips, r.took = int(verdicts.Load()), int(mixed.Load()), int(flips.Load()), time.Since(start)
		select {
		case err := <-failures:
			failed = errors.Join(failed, err)
		default:
		}
	}
	close(stop)
	judges.Wait()
	r.verdicts, r.mixed = int(verdicts.Load()), int(mixed.Load())
	if e := example.Load(); e != nil {
		r.example = *e
	}
	return r, failed
}

// judge is one thread that asks.
type judge struct {
	pace
	trial    *datapath.Trial
	first    int
	pairs    []pair
	at       int
	asked    []pair
	outcomes []bpf.Outcome
	asks     int
}

// once runs one batch and checks every verdict of it.
func (j *judge) once() (n, bad int, what string, err error) {
	if j.asks%j.pace.rounds == 0 {
		if err := j.choose(); err != nil {
			return 0, 0, "", err
		}
	}
	j.asks++
	if err := j.trial.Run(j.first, j.batch); err != nil {
		return 0, 0, "", err
	}
	if err := j.trial.ReadOutcomes(j.first, j.outcomes); err != nil {
		return 0, 0, "", err
	}
	for i, o := range j.outcomes {
		want := j.asked[i].want[o.Counter%2]
		if o.Egress != want.egress || o.Ingress != want.ingress {
			bad++
			what = fmt.Sprintf("generation %d: %+v: egress %x, want %x; ingress %x, want %x", o.Counter, j.asked[i].question, o.Egress, want.egress, o.Ingress, want.ingress)
		}
	}
	return len(j.outcomes), bad, what, nil
}

func (j *judge) choose() error {
	j.asked = j.asked[:0]
	questions := make([]bpf.Question, 0, j.batch)
	for range j.batch {
		p := j.pairs[j.at%len(j.pairs)]
		j.at++
		j.asked = append(j.asked, p)
		questions = append(questions, p.question)
	}
	j.outcomes = make([]bpf.Outcome, j.batch)
	return j.trial.Ask(j.first, questions)
}
