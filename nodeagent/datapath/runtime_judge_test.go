package datapath

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/nodeagent/layout/runtimetest"
	"palisade.dev/palisade/snapshot"
)

// asked is an operation with what it should be answered.
type asked struct {
	uid, container string
	op             rowtest.Operation
}

func newRuntimeTrial(t testing.TB, o TrialOptions) *RuntimeTrial {
	t.Helper()
	trial, err := NewRuntimeTrial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trial.Close() })
	return trial
}

// fataler is what a test and a property share.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// judgeAll asks the kernel and compares with the slow answers.
func judgeAll(t fataler, trial *RuntimeTrial, b *rowtest.Runtime, all []asked) {
	t.Helper()
	questions := make([]bpf.RuntimeQuestion, len(all))
	for i, a := range all {
		questions[i] = runtimetest.Question(trial.Layout(), a.uid, a.container, a.op)
	}
	outcomes := make([]bpf.RuntimeOutcome, len(all))
	if err := trial.Ask(0, questions); err != nil {
		t.Fatal(err)
	}
	if err := trial.Run(0, len(all)); err != nil {
		t.Fatal(err)
	}
	if err := trial.Outcomes(0, outcomes); err != nil {
		t.Fatal(err)
	}
	for i, a := range all {
		want, known, rules := b.Judge(a.uid, a.container, a.op)
		subject := int32(-1)
		if known {
			subject = 0
		}
		if rules {
			subject = 1
		}
		if outcomes[i].Subject != subject {
			t.Fatalf("pod %s, container %s: subject %d, want %d", a.uid, a.container, outcomes[i].Subject, subject)
		}
		if !known {
			continue
		}
		got := runtimetest.Answer(trial.Layout(), outcomes[i].Answer)
		if a.container == rowtest.Pending {
			// Of several rule sets that say the same, any may be named.
			want.Enforced.Rule, want.Staged.Rule = got.Enforced.Rule, got.Staged.Rule
		}
		if got != want {
			t.Fatalf("pod %s, container %s: %+v: got %+v, want %+v", a.uid, a.container, a.op, got, want)
		}
		if a.op.Path != "" && !a.op.Unresolvable && outcomes[i].Fingerprint != trial.Layout().Fingerprint(a.op.Path) {
			t.Fatalf("%q: fingerprint %x, want %x", a.op.Path, outcomes[i].Fingerprint, trial.Layout().Fingerprint(a.op.Path))
		}
	}
}

// TestRuntimeJudgeMatchesRows goes from one random node to another, by deltas, and
// compares the kernel's answers with the slow ones from the same rows after each.
func TestRuntimeJudgeMatchesRows(t *testing.T) {
	trial := newRuntimeTrial(t, TrialOptions{Lines: 1 << 13, Layout: layout.Options{Unbound: layout.UnboundAllow}})
	have := snapshot.NewSet()
	full := true
	rapid.Check(t, func(rt *rapid.T) {
		b, paths := rowtest.RandomRuntime(rt)
		next := b.Set()
		u := layout.Update{Full: full || rapid.Bool().Draw(rt, "full"), Delta: snapshot.Diff(have, next)}
		if u.Full {
			u.Delta = b.Full()
		}
		if _, err := trial.Apply(context.Background(), u); err != nil {
			rt.Fatal(err)
		}
		have, full = next, false
		var all []asked
		pods := append(b.Pods(), "ffffffff-0000-4000-8000-000000000000")
		for range 100 {
			all = append(all, asked{rapid.SampledFrom(pods).Draw(rt, "pod"), rowtest.RandomContainer(rt), rowtest.RandomOperation(rt, paths)})
		}
		judgeAll(rt, trial, b, all)
	})
}
