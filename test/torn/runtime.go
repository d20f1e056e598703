package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/nodeagent/layout/runtimetest"
	"palisade.dev/palisade/snapshot"
)

// What a full run of runtime rules has at least.
const (
	runtimeFlips    = 300
	runtimeVerdicts = 1_000_000
)

// runtimeBatch is how many operations one test-run judges.
const runtimeBatch = 128

// runtimeRounds is how often the same operations are judged before others are.
const runtimeRounds = 64

// runtimeWriter brings the tables from one world to the other.
type runtimeWriter struct {
	name string
	step func(*datapath.RuntimeTrial, layout.Update) error
}

var runtimeLeftRight = runtimeWriter{"left-right", func(t *datapath.RuntimeTrial, u layout.Update) error {
	_, err := t.Apply(context.Background(), u)
	return err
}}

// The writers that do it wrong: one changes the side that judges entry by entry, the
// other says first whose kind each pod is and then what that means.
var runtimeWrong = []runtimeWriter{
	{"entry by entry", func(t *datapath.RuntimeTrial, u layout.Update) error {
		if err := t.Layout().Apply(u); err != nil {
			return err
		}
		side, err := t.Tables().Active()
		if err != nil {
			return err
		}
		lines, whole := t.Layout().Pending(side)
		if whole {
			t.Tables().WriteAll(side, t.Layout().Lines())
		}
		for _, i := range lines {
			t.Tables().Write(side, i, t.Layout().Line(i))
		}
		t.Layout().Synced(side)
		return nil
	}},
	{"pods apart from rules", func(t *datapath.RuntimeTrial, u layout.Update) error {
		pods, rules := u, u
		pods.Delta, rules.Delta = snapshot.Delta{}, snapshot.Delta{}
		for _, e := range u.Delta.Upserts {
			part := &rules.Delta
			if e.Table == snapshot.TableRuntimePod {
				part = &pods.Delta
			}
			part.Upserts = append(part.Upserts, e)
		}
		rules.Delta.Deletes = u.Delta.Deletes
		for _, half := range []layout.Update{pods, rules} {
			if _, err := t.Apply(context.Background(), half); err != nil {
				return err
			}
		}
		return nil
	}},
}

const (
	runtimeKinds = 4
	runtimePods  = 16
	runtimePaths = 24
)

func runtimePath(i int) string { return fmt.Sprintf("/usr/lib/service-%d/bin/tool-%d", i%5, i) }

func runtimeUID(i int) string { return fmt.Sprintf("%032x", i+1) }

func runtimeRule(w, k int, container string, i int) string {
	return fmt.Sprintf("w%d-%d-%s-%d", w, k, container, i)
}

// runtimeWorld is one of the two states. They share no rule, about half of the answers
// differ, and every pod is of the next kind in the other world.
func runtimeWorld(number int) *rowtest.Runtime {
	b := rowtest.NewRuntime()
	for k := range runtimeKinds {
		for _, container := range []string{"app", "sidecar"} {
			var ids []snapshot.RuleID
			for i := range runtimePaths {
				for w := range 2 {
					b.Name(runtimeRule(w, k, container, i)) // so that both worlds have one slot for it
				}
				ids = append(ids, b.Rule(runtimeRule(number, k, container, i), runtimeRow(number, k, container, i)))
			}
			kind := fmt.Sprintf("kind-%d", k)
			b.Subject(kind, container, b.Ruleset(fmt.Sprintf("w%d-%d-%s", number, k, container), ids...))
		}
	}
	for i := range runtimePods {
		b.Pod(runtimeUID(i), fmt.Sprintf("kind-%d", (i+number)%runtimeKinds))
	}
	return b
}

// runtimeRow is about a path, a directory or a glob of its own.
func runtimeRow(number, k int, container string, i int) snapshot.RuntimeRuleRow {
	h := fnv.New32a()
	fmt.Fprint(h, number, k, container, i)
	r := snapshot.RuntimeRuleRow{
		Section: uint8(i % 2), Action: uint8(h.Sum32() % 3), Enforced: true, Staged: true,
	}
	path := runtimePath(i)
	switch i % 3 {
	case 0:
		r.Paths = []string{path}
	case 1:
		r.Directories = []string{path}
	case 2:
		r.Globs = []snapshot.RuntimeGlob{{Prefix: "/usr/lib/", Suffix: path[len("/usr/lib/service-"):]}}
	}
	return r
}

// runtimeAsked is an operation with its answers in both worlds, without the ranks.
type runtimeAsked struct {
	question bpf.RuntimeQuestion
	want     [2]bpf.RuntimeAnswer
}

// runtimeRank masks the rank of a word.
const runtimeRank = uint64(1)<<40 - 1

func runtimeQuestions(worlds [2]*rowtest.Runtime, l *layout.Layout) ([]runtimeAsked, error) {
	slots := map[string]bpf.RuleSlot{}
	for _, s := range l.RuleSlots() {
		row, _ := l.Rule(s)
		slots[row.Rule] = s
	}
	word := func(d rowtest.RuntimeDecision) uint64 {
		var flags uint64
		if d.Deny {
			flags |= bpf.RuntimeDeny
		}
		if d.Kill {
			flags |= bpf.RuntimeKill
		}
		return bpf.RuntimeWord(0, flags, slots[d.Rule])
	}
	var out []runtimeAsked
	agree := 0
	for pod := range runtimePods {
		for i := range runtimePaths {
			for _, container := range []string{"app", "sidecar"} {
				op := rowtest.Operation{Section: uint8(i % 2), Operations: uint32(i % 2), Origin: snapshot.OriginImage, Path: runtimePath(i)}
				a := runtimeAsked{question: runtimetest.Question(l, runtimeUID(pod), container, op)}
				for w, b := range worlds {
					v, known, rules := b.Judge(runtimeUID(pod), container, op)
					if !known || !rules {
						return nil, fmt.Errorf("pod %d, container %s: no rules", pod, container)
					}
					a.want[w] = bpf.RuntimeAnswer{Enforced: word(v.Enforced), Staged: word(v.Staged)}
				}
				if a.want[0] == a.want[1] {
					return nil, fmt.Errorf("pod %d, %s: the worlds agree", pod, op.Path)
				}
				if (a.want[0].Enforced^a.want[1].Enforced)&bpf.RuntimeDeny == 0 {
					agree++
				}
				out = append(out, a)
			}
		}
	}
	return out, agreement("operations", agree, len(out), 40, 60)
}

// raceRuntime judges operations while a writer swaps the worlds, until enough says so.
func raceRuntime(w runtimeWriter, enough func(result) bool) (result, error) {
	worlds := [2]*rowtest.Runtime{runtimeWorld(0), runtimeWorld(1)}
	sets := [2]*snapshot.Set{worlds[0].Set(), worlds[1].Set()}
	steps := [2]snapshot.Delta{snapshot.Diff(sets[1], sets[0]), snapshot.Diff(sets[0], sets[1])}
	t, err := datapath.NewRuntimeTrial(datapath.TrialOptions{
		Questions: threads() * runtimeBatch, Lines: 1 << 13, Layout: layout.Options{Unbound: layout.UnboundAllow},
	})
	if err != nil {
		return result{}, err
	}
	defer t.Close()
	if _, err := t.Apply(context.Background(), layout.Update{Full: true, Delta: worlds[0].Full()}); err != nil {
		return result{}, err
	}
	all, err := runtimeQuestions(worlds, t.Layout())
	if err != nil {
		return result{}, err
	}
	var verdicts, mixed atomic.Int64
	var example atomic.Pointer[string]
	stop, failures := make(chan struct{}), make(chan error, threads())
	var judges sync.WaitGroup
	for i := range threads() {
		judges.Go(func() {
			j := runtimeJudge{trial: t, first: i * runtimeBatch, all: all, at: i * len(all) / threads(), verdicts: &verdicts, mixed: &mixed, example: &example}
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := j.once(); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	r := result{}
	start := time.Now()
	var failed error
	for number := uint64(1); failed == nil && !enough(r); number++ {
		failed = w.step(t, layout.Update{Generation: snapshot.Generation{Counter: number}, Delta: steps[number%2]})
		r.flips++
		r.verdicts, r.mixed, r.took = int(verdicts.Load()), int(mixed.Load()), time.Since(start)
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

// runtimeJudge is one thread that asks.
type runtimeJudge struct {
	trial           *datapath.RuntimeTrial
	first, at       int
	all, asked      []runtimeAsked
	outcomes        [runtimeBatch]bpf.RuntimeOutcome
	rounds          int
	verdicts, mixed *atomic.Int64
	example         *atomic.Pointer[string]
}

// once runs one batch and checks every answer of it.
func (j *runtimeJudge) once() error {
	if j.rounds%runtimeRounds == 0 {
		if err := j.choose(); err != nil {
			return err
		}
	}
	j.rounds++
	if err := j.trial.Run(j.first, runtimeBatch); err != nil {
		return err
	}
	if err := j.trial.Outcomes(j.first, j.outcomes[:]); err != nil {
		return err
	}
	for i := range j.outcomes {
		o, a := &j.outcomes[i], &j.asked[i]
		got := bpf.RuntimeAnswer{Enforced: o.Answer.Enforced & runtimeRank, Staged: o.Answer.Staged & runtimeRank}
		if want := a.want[o.Counter%2]; got != want {
			j.mixed.Add(1)
			what := fmt.Sprintf("generation %d: path %s: %x, want %x", o.Counter, a.question.Path.Bytes[:a.question.Path.Length], got, want)
			j.example.CompareAndSwap(nil, &what)
		}
	}
	j.verdicts.Add(runtimeBatch)
	return nil
}

func (j *runtimeJudge) choose() error {
	j.asked = j.asked[:0]
	var questions []bpf.RuntimeQuestion
	for range runtimeBatch {
		a := j.all[j.at%len(j.all)]
		j.at++
		j.asked = append(j.asked, a)
		questions = append(questions, a.question)
	}
	return j.trial.Ask(j.first, questions)
}

// runRuntime is the proof for runtime rules, which has to find the wrong writers out.
func runRuntime(limit time.Duration) error {
	for _, w := range runtimeWrong {
		r, err := raceRuntime(w, func(r result) bool { return r.mixed > 0 || r.took > patience })
		if err != nil {
			return fmt.Errorf("runtime writer %s: %w", w.name, err)
		}
		if r.mixed == 0 {
			return fmt.Errorf("runtime writer %s: not found out after %d verdicts and %d flips: the test proves nothing", w.name, r.verdicts, r.flips)
		}
		fmt.Printf("runtime writer %s: found out: %d of %d verdicts mixed, %d flips\n", w.name, r.mixed, r.verdicts, r.flips)
	}
	r, err := raceRuntime(runtimeLeftRight, func(r result) bool {
		return (limit > 0 && r.took >= limit) || (r.flips >= runtimeFlips && r.verdicts >= runtimeVerdicts)
	})
	if err != nil {
		return err
	}
	if r.flips < runtimeFlips || r.verdicts < runtimeVerdicts {
		fmt.Printf("ran %d of %d runtime flips\n", min(r.flips, runtimeFlips), runtimeFlips)
		fmt.Printf("ran %d of %d runtime verdicts\n", min(r.verdicts, runtimeVerdicts), runtimeVerdicts)
	}
	fmt.Printf("runtime %s\n", r)
	if r.mixed > 0 {
		return fmt.Errorf("runtime verdicts of no generation: %s", r.example)
	}
	return nil
}
