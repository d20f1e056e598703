package datapath

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

var errInjected = errors.New("injected")

// failing is a trial that can be made to fail.
type failing struct {
	*Trial
	t *testing.T
}

func newFailing(t *testing.T) failing {
	t.Helper()
	needRoot(t)
	trial, err := NewTrial(TrialOptions{Layout: layout.Options{Unbound: layout.UnboundAllow}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := trial.Close(); err != nil {
			t.Error(err)
		}
	})
	return failing{trial, t}
}

func (f failing) apply(counter uint64, b *rowtest.Builder) error {
	_, err := f.Apply(f.t.Context(), layout.Update{Generation: snapshot.Generation{Counter: counter}, Full: true, Delta: b.Full(), Facts: []layout.Binding{}})
	return err
}

// judged checks what becomes of a connection from a to b, and by which generation.
func (f failing) judged(when string, deny bool, counter uint64) {
	f.t.Helper()
	q, err := Connection{From: netip.MustParseAddr("10.1.0.11"), To: netip.MustParseAddr("10.1.0.12"), Protocol: protoTCP, Port: 8080}.question()
	if err != nil {
		f.t.Fatal(err)
	}
	raw, err := f.answer([]bpf.Question{q})
	if err != nil {
		f.t.Fatal(err)
	}
	if got := f.judgement(raw[0].Ingress).Enforced.Deny; got != deny || raw[0].Counter != counter {
		f.t.Errorf("%s: denied %v by generation %d, want %v by %d", when, got, raw[0].Counter, deny, counter)
	}
}

// crowd adds addresses beyond the room of the first tables.
func crowd(b *rowtest.Builder) *rowtest.Builder {
	for i := range 40_000 {
		b.Address(fmt.Sprintf("10.%d.%d.%d", 100+i>>16, i>>8&255, i&255), "a", fmt.Sprintf("uid-far-%d", i))
	}
	return b
}

// TestFailureBeforeFlip: the rows of an update that did not get into force reach the
// kernel neither with the next facts nor with a repair, under another's name.
func TestFailureBeforeFlip(t *testing.T) {
	f := newFailing(t)
	if err := f.apply(1, newState().protect("b", false).build()); err != nil {
		t.Fatal(err)
	}
	f.judged("at first", true, 1)
	grow := f.grow
	f.grow = func(int) (*Tables, func() error, error) { return nil, nil, errInjected }
	open := func() *rowtest.Builder { return crowd(newState().build()) }
	if err := f.apply(2, open()); !errors.Is(err, errInjected) {
		t.Fatalf("error %v, want %v", err, errInjected)
	}
	f.judged("after the failure", true, 1)
	if g, _ := f.layout.Generation(); g.Counter != 1 {
		t.Errorf("the layout is at generation %s", g)
	}
	if _, err := f.Apply(t.Context(), layout.Update{Generation: snapshot.Generation{Counter: 1}, Facts: []layout.Binding{}}); err != nil {
		t.Fatal(err)
	}
	f.judged("after facts", true, 1)
	f.grow = func(capacity int) (*Tables, func() error, error) {
		bigger, _, err := grow(capacity)
		return bigger, func() error { return errInjected }, err
	}
	if err := f.apply(2, open()); !errors.Is(err, errInjected) {
		t.Fatalf("error %v, want %v", err, errInjected)
	}
	if _, err := f.publish(time.Now()); err != nil {
		t.Fatal(err)
	}
	f.judged("after a repair", true, 1)
	f.grow = grow
	if err := f.apply(2, open()); err != nil {
		t.Fatal(err)
	}
	f.judged("at last", false, 2)
}

// TestUndrained: a side that somebody may still judge by is not written, by the next
// update either, nor by an audit.
func TestUndrained(t *testing.T) {
	f := newFailing(t)
	shut := func() *rowtest.Builder { return newState().protect("b", false).build() }
	if err := f.apply(1, shut()); err != nil {
		t.Fatal(err)
	}
	good := f.tables.inner
	f.tables.inner = [2]*ebpf.Map{f.tables.active, f.tables.active} // no sides: the kernel refuses them
	if err := f.apply(2, newState().build()); err == nil {
		t.Fatal("drained with a map that is no side")
	}
	f.judged("behind the flip", false, 2)
	before := f.tables.Writes()
	if err := f.apply(3, shut()); err == nil {
		t.Error("applied without a drain")
	}
	if err := f.audit(&Drift{}); err == nil {
		t.Error("audited without a drain")
	}
	if n := f.tables.Writes() - before; n > 0 {
		t.Errorf("%d lines written to a side that was not drained", n)
	}
	f.judged("still not drained", false, 2)
	f.tables.inner = good
	if err := f.apply(3, shut()); err != nil {
		t.Fatal(err)
	}
	f.judged("drained", true, 3)
}

// TestNotInPlace: a generation by which nothing judges is not told as one in force.
func TestNotInPlace(t *testing.T) {
	l := newLab(t)
	l.open()
	good := l.dp.programs.guard
	l.dp.programs.guard = closed(t, good)
	u := layout.Update{Generation: snapshot.Generation{Counter: 7}, Full: true, Delta: newState().protect("b", false).build().Full(), Facts: l.facts()}
	if r, err := l.dp.Apply(t.Context(), u); err == nil || r.Flipped != 0 {
		t.Fatalf("result %+v, error %v", r, err)
	}
	if g, _ := l.dp.Generation(); g != (snapshot.Generation{}) {
		t.Errorf("generation %s is told to be in force", g)
	}
	l.dp.programs.guard = good
	if _, err := l.dp.Apply(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if g, _ := l.dp.Generation(); g != u.Generation {
		t.Errorf("generation %s, want %s", g, u.Generation)
	}
	l.node.in(func() {
		if drift, err := l.dp.Audit(t.Context()); err != nil || !drift.Empty() {
			t.Errorf("drift %s, error %v", drift, err)
		}
	})
}

// closed is a program that the kernel does not take.
func closed(t *testing.T, p *ebpf.Program) *ebpf.Program {
	t.Helper()
	c, err := p.Clone()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestBothPrograms: the verdict of some tables never judges beside the guard of
// others; where one does not take its place, those of before go on.
func TestBothPrograms(t *testing.T) {
	l := newLab(t)
	l.open()
	at := func() string {
		t.Helper()
		p, err := l.dp.programAt(bpf.SlotVerdict)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			return "nobody"
		}
		defer p.Close()
		for name, have := range map[string]*ebpf.Program{"guard": l.dp.programs.guard, "verdict": l.dp.programs.verdict} {
			if idOf(t, p) == idOf(t, have) {
				return name
			}
		}
		return "a stranger"
	}
	both := *l.dp.programs
	half := programs{verdict: both.guard, guard: closed(t, both.guard)} // the guard in both slots, if it could be
	for _, before := range []string{"nobody", "verdict"} {
		if before == "verdict" {
			if err := l.dp.takePlace(&both); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.dp.takePlace(&half); err == nil {
			t.Error("a closed program took its place")
		}
		if got := at(); got != before {
			t.Errorf("slot of the verdict: %s, before %s", got, before)
		}
	}
}

func idOf(t *testing.T, p *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return id
}
