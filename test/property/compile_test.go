package property

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
	"palisade.dev/palisade/snapshot"
)

// TestIncrementalIsFull is promise P2: whatever the order of events, and however
// they are cut into commits, the rows are those of one compile of the whole.
func TestIncrementalIsFull(t *testing.T) {
	tryHistories(t, 60, func(h history) error {
		options := compile.Options{}
		if h.seed%3 == 0 {
			options = compile.Options{CellsPerRuleset: 4 + int(h.seed/3%12), CellsPerNode: 20 + int(h.seed/36%60)}
		}
		if h.seed%4 == 0 {
			options.RuntimeRules = 2 + int(h.seed/4%10)
		}
		if h.seed%5 == 0 {
			options.RuntimePerNode, options.Containers = 20+int(h.seed/5%100), 1+int(h.seed/5%2)
		}
		w, inc := newWorld(), compile.New(options)
		s := &shadow{snapshot.NewSet(), map[model.NodeName]*snapshot.Set{}}
		for _, commit := range h.commits {
			for _, event := range commit {
				w.step(event.rand(), inc)
			}
			changes := inc.Commit()
			s.apply(changes)
			full := w.feed(options)
			if err := same("incremental", inc, "full", full); err != nil {
				return err
			}
			if err := s.same(inc); err != nil {
				return err
			}
			if a, b := changes.Refused, full.Refusals(); !slices.Equal(a, b) {
				return fmt.Errorf("refused: incrementally %v, in full %v", a, b)
			}
		}
		return nil
	})
}

// TestTwoOrdersOneDigest feeds two compilers with one cluster in two orders and
// two ways of cutting it into commits.
func TestTwoOrdersOneDigest(t *testing.T) {
	tryHistories(t, 60, func(h history) error {
		w, a := newWorld(), compile.New(compile.Options{})
		for _, commit := range h.commits {
			for _, event := range commit {
				w.step(event.rand(), a)
			}
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
		return same("one order", a, "the other", b)
	})
}

// TestTablesAgreeWithReference asks compiled tables and the reference evaluator
// the same questions.
func TestTablesAgreeWithReference(t *testing.T) {
	asked, decided := 0, 0 // sides of connections; those that a policy decided
	tryHistories(t, 100, func(h history) error {
		w, c := newWorld(), compile.New(compile.Options{})
		for _, commit := range h.commits {
			for _, event := range commit {
				w.step(event.rand(), c)
			}
		}
		r := h.event.rand()
		for added := 0; added < 4; { // so that there is something to ask about
			if p := drawPolicy(r); len(p.Ingress)+len(p.Egress) > 0 {
				w.putPolicy(p, 0, c)
				added++
			}
		}
		c.Commit()
		cluster := w.cluster()
		nodes := map[model.NodeName]*snapshot.Set{}
		for _, name := range c.NodeNames() {
			nodes[name] = c.Node(name)
		}
		tables, err := analysis.FromTables(nodes, c.Common())
		if err != nil {
			return err
		}
		owned := slices.Clone(addresses)
		for _, id := range slices.SortedFunc(maps.Keys(w.endpoints), model.CompareEndpointIDs) {
			for range 5 {
				owned = append(owned, w.endpoints[id].Addresses...)
			}
		}
		for range 200 {
			q := drawConnection(r, owned)
			got, err := tables.Judge(q)
			if err != nil {
				return err
			}
			if want := reference.Judge(cluster, q); got != want {
				return fmt.Errorf("%+v\ntables    %+v\nreference %+v\ncluster %+v", q, got, want, cluster)
			}
			for _, j := range []model.Judgement{got.Egress, got.Ingress} {
				asked++
				if j.Enforced.By.Policy.Kind != model.KindBuiltin {
					decided++
				}
			}
		}
		return nil
	})
	t.Logf("a policy decided %d of %d", decided, asked)
	if decided*15 < asked {
		t.Errorf("a policy decided only %d of %d: the worlds are too empty to prove anything", decided, asked)
	}
}

// drawConnection draws a question between addresses, most of which somebody has.
func drawConnection(r *rand.Rand, addrs []netip.Addr) model.Connection {
	q := model.Connection{
		From: pick(r, addrs), To: pick(r, addrs),
		Proto: pick(r, append([]model.Protocol{model.ProtoICMP, model.ProtoICMPv6, 47}, protocols...)),
	}
	switch q.Proto {
	case 47:
	case model.ProtoICMP, model.ProtoICMPv6:
		q.Port = model.Port(r.IntN(0x10000))
	default:
		q.Port = pick(r, append([]model.Port{1, 54, 81, 9000}, ports...))
	}
	return q
}

// shadow is what nodes would have that know only the deltas.
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

func (s *shadow) same(c *compile.Compiler) error {
	if err := sameSets("common rows", "deltas", s.common, "compiler", c.Common()); err != nil {
		return err
	}
	if len(s.nodes) != len(c.NodeNames()) {
		return fmt.Errorf("deltas know %d nodes, the compiler %q", len(s.nodes), c.NodeNames())
	}
	for _, name := range c.NodeNames() {
		if err := sameSets("node "+string(name), "deltas", s.nodes[name], "compiler", c.Node(name)); err != nil {
			return err
		}
	}
	return nil
}

// same compares all rows of two compilers, byte by byte.
func same(nameA string, a *compile.Compiler, nameB string, b *compile.Compiler) error {
	if err := sameSets("common rows", nameA, a.Common(), nameB, b.Common()); err != nil {
		return err
	}
	if x, y := a.NodeNames(), b.NodeNames(); !slices.Equal(x, y) {
		return fmt.Errorf("nodes: %s has %q, %s has %q", nameA, x, nameB, y)
	}
	for _, name := range a.NodeNames() {
		if err := sameSets("node "+string(name), nameA, a.Node(name), nameB, b.Node(name)); err != nil {
			return err
		}
		if a.Digest(name) != b.Digest(name) {
			return fmt.Errorf("node %s: equal rows and different digests", name)
		}
	}
	return nil
}

func sameSets(what, nameA string, a *snapshot.Set, nameB string, b *snapshot.Set) error {
	d := snapshot.Diff(a, b)
	if d.Empty() {
		return nil
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s and %s differ in %d rows", what, nameA, nameB, len(d.Upserts)+len(d.Deletes))
	for _, e := range d.Upserts {
		row, err := snapshot.Decode(e)
		fmt.Fprintf(&text, "\n  only %s, or differently: %T%+v %v", nameB, row, row, err)
	}
	for _, id := range d.Deletes {
		value, _ := a.Get(id)
		row, err := snapshot.Decode(snapshot.Entry{Table: id.Table, Key: []byte(id.Key), Value: value})
		fmt.Fprintf(&text, "\n  only %s: %T%+v %v", nameA, row, row, err)
	}
	return fmt.Errorf("%s", text.String())
}
