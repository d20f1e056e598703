package property

import (
	"flag"
	"os"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
	"palisade.dev/palisade/snapshot"
)

// stepsPerWorld is how many events one random world sees.
const stepsPerWorld = 25

// fullSteps is how many events the whole test is about; without
// PALISADE_FULL=1 it makes do with fewer, and says so.
const fullSteps = 10_000

// worlds sets how many worlds rapid tries, so that about full events are seen in
// a full run.
func worlds(t *testing.T, short, full int) int {
	steps := short
	if os.Getenv("PALISADE_FULL") == "1" {
		steps = full
	}
	if testing.Short() {
		steps = short / 3
	}
	n := (steps + stepsPerWorld - 1) / stepsPerWorld
	if err := flag.Set("rapid.checks", strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	return n
}

// shadow is what a node would have that knows only the deltas.
type shadow struct {
	common *snapshot.Set
	nodes  map[model.NodeName]*snapshot.Set
}

func (s *shadow) apply(c compile.Changes) {
	s.common.Apply(c.Common)
	for name, d := range c.Nodes {
		if s.nodes[name] == nil {
			s.nodes[name] = snapshot.NewSet()
		}
		s.nodes[name].Apply(d)
	}
	for _, name := range c.Gone {
		delete(s.nodes, name)
	}
}

// TestIncrementalIsFull is promise P2: whatever the order of events, and however
// they are cut into commits, the rows are those of one compile of the whole.
func TestIncrementalIsFull(t *testing.T) {
	worlds(t, 1_500, fullSteps)
	steps := 0
	rapid.Check(t, func(t *rapid.T) {
		options := compile.Options{}
		if chance(t, "tight", 3) {
			options = compile.Options{CellsPerRuleset: 6, CellsPerNode: 40}
		}
		w := newWorld()
		inc := compile.New(options)
		s := &shadow{snapshot.NewSet(), map[model.NodeName]*snapshot.Set{}}
		for range stepsPerWorld {
			for range rapid.IntRange(1, 3).Draw(t, "events in the commit") {
				w.step(t, inc)
			}
			changes := inc.Commit()
			s.apply(changes)
			full := w.feed(options)
			same(t, "incremental", inc, "full", full)
			sameShadow(t, s, inc)
			sameRefusals(t, changes.Refused, full.Refusals())
			steps++
		}
	})
	t.Logf("ran %d of %d", steps, fullSteps)
}

// same compares all rows of two compilers, byte by byte.
func same(t *rapid.T, nameA string, a *compile.Compiler, nameB string, b *compile.Compiler) {
	t.Helper()
	sameSets(t, "common rows", nameA, a.Common(), nameB, b.Common())
	if x, y := a.NodeNames(), b.NodeNames(); !slices.Equal(x, y) {
		t.Fatalf("nodes: %s has %q, %s has %q", nameA, x, nameB, y)
	}
	for _, name := range a.NodeNames() {
		sameSets(t, "node "+string(name), nameA, a.Node(name), nameB, b.Node(name))
		if a.Digest(name) != b.Digest(name) {
			t.Fatalf("node %s: equal rows and different digests", name)
		}
	}
}

func sameSets(t *rapid.T, what, nameA string, a *snapshot.Set, nameB string, b *snapshot.Set) {
	t.Helper()
	d := snapshot.Diff(a, b)
	if d.Empty() {
		return
	}
	for _, e := range d.Upserts {
		row, err := snapshot.Decode(e)
		t.Logf("%s: only %s, or differently: %+v %v", what, nameB, row, err)
	}
	for _, id := range d.Deletes {
		value, _ := a.Get(id)
		row, err := snapshot.Decode(snapshot.Entry{Table: id.Table, Key: []byte(id.Key), Value: value})
		t.Logf("%s: only %s: %+v %v", what, nameA, row, err)
	}
	t.Fatalf("%s: %s and %s differ in %d rows", what, nameA, nameB, len(d.Upserts)+len(d.Deletes))
}

func sameShadow(t *rapid.T, s *shadow, c *compile.Compiler) {
	t.Helper()
	sameSets(t, "common rows", "deltas", s.common, "compiler", c.Common())
	if len(s.nodes) != len(c.NodeNames()) {
		t.Fatalf("deltas know %d nodes, the compiler %q", len(s.nodes), c.NodeNames())
	}
	for _, name := range c.NodeNames() {
		sameSets(t, "node "+string(name), "deltas", s.nodes[name], "compiler", c.Node(name))
	}
}

func sameRefusals(t *rapid.T, a, b []compile.Refusal) {
	t.Helper()
	if !slices.Equal(a, b) {
		t.Fatalf("refused: incrementally %v, in full %v", a, b)
	}
}

// TestTwoOrdersOneDigest feeds two compilers with one cluster in two orders and
// two ways of cutting it into commits.
func TestTwoOrdersOneDigest(t *testing.T) {
	worlds(t, 1_500, fullSteps)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		a := compile.New(compile.Options{})
		for range stepsPerWorld {
			w.step(t, a)
			a.Commit()
		}
		b := compile.New(compile.Options{})
		for _, p := range w.policies {
			b.PutPolicy(p.policy, p.order)
			b.Commit()
		}
		b.SetAPIServer(w.apiServer)
		for _, g := range w.groups {
			b.PutAddressGroup(g)
			b.Commit()
		}
		for _, e := range w.endpoints {
			b.PutEndpoint(e)
			b.Commit()
		}
		for _, ns := range w.namespaces {
			b.PutNamespace(ns)
			b.Commit()
		}
		same(t, "one order", a, "the other", b)
	})
}

// TestTablesAgreeWithReference asks compiled tables and the reference evaluator
// the same questions.
func TestTablesAgreeWithReference(t *testing.T) {
	worlds(t, 1_500, fullSteps)
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		c := compile.New(compile.Options{})
		for range stepsPerWorld {
			w.step(t, c)
		}
		c.Commit()
		cluster := w.cluster()
		nodes := map[model.NodeName]*snapshot.Set{}
		for _, name := range c.NodeNames() {
			nodes[name] = c.Node(name)
		}
		tables, err := analysis.FromTables(nodes, c.Common())
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			q := drawConnection(t)
			got, err := tables.Judge(q)
			if err != nil {
				t.Fatal(err)
			}
			if want := reference.Judge(cluster, q); got != want {
				t.Fatalf("%+v\ntables    %+v\nreference %+v\ncluster %+v", q, got, want, cluster)
			}
		}
	})
}

func drawConnection(t *rapid.T) model.Connection {
	q := model.Connection{
		From: pick(t, "from", addresses), To: pick(t, "to", addresses),
		Proto: pick(t, "protocol", append([]model.Protocol{model.ProtoICMP, model.ProtoICMPv6, 47}, protocols...)),
	}
	switch q.Proto {
	case 47:
	case model.ProtoICMP, model.ProtoICMPv6:
		q.Port = model.Port(rapid.IntRange(0, 0xffff).Draw(t, "type and code"))
	default:
		q.Port = pick(t, "port", append([]model.Port{1, 54, 81, 9000}, ports...))
	}
	return q
}
