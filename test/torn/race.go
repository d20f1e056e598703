package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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

// batch is how many questions one test-run judges.
const batch = 256

// race judges while a writer swaps the worlds, until enough says so.
func race(w writer, enough func(result) bool) (result, error) {
	worlds := [2]*rowtest.Builder{world(0), world(1)}
	sets := [2]*snapshot.Set{worlds[0].Set(), worlds[1].Set()}
	steps := [2]snapshot.Delta{snapshot.Diff(sets[1], sets[0]), snapshot.Diff(sets[0], sets[1])}

	t, err := datapath.NewTrial(datapath.TrialOptions{Questions: threads() * batch, Lines: 1 << 13, Layout: layout.Options{Unbound: layout.UnboundAllow}})
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

	var verdicts, mixed, flips atomic.Int64
	var example atomic.Pointer[string]
	stop := make(chan struct{})
	failures := make(chan error, threads())
	var judges sync.WaitGroup
	for i := range threads() {
		judges.Go(func() {
			j := judge{trial: t, first: i * batch, pairs: all, at: i * len(all) / threads()}
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
	trial    *datapath.Trial
	first    int
	pairs    []pair
	at       int
	asked    []pair
	outcomes []bpf.Outcome
	rounds   int
}

// roundsPerBatch is how often the same questions are asked before others are.
const roundsPerBatch = 64

// once runs one batch and checks every verdict of it.
func (j *judge) once() (n, bad int, what string, err error) {
	if j.rounds%roundsPerBatch == 0 {
		if err := j.choose(); err != nil {
			return 0, 0, "", err
		}
	}
	j.rounds++
	if err := j.trial.Run(j.first, batch); err != nil {
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
	questions := make([]bpf.Question, 0, batch)
	for range batch {
		p := j.pairs[j.at%len(j.pairs)]
		j.at++
		j.asked = append(j.asked, p)
		questions = append(questions, p.question)
	}
	j.outcomes = make([]bpf.Outcome, batch)
	return j.trial.Ask(j.first, questions)
}
