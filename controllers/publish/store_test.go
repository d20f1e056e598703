package publish

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

var epoch = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func meta(node string) snapshot.Entry { return snapshot.Encode(snapshot.MetaRow{Node: node}) }

func local(n int) snapshot.Entry {
	return snapshot.Encode(snapshot.LocalRow{UID: fmt.Sprintf("uid-%d", n), Namespace: "shop", Name: "web"})
}

func address(n int, name string) snapshot.Entry {
	return snapshot.Encode(snapshot.AddressRow{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), Namespace: "shop", Name: name, UID: "u"})
}

func upsert(list ...snapshot.Entry) snapshot.Delta {
	return snapshot.Diff(snapshot.NewSet(), snapshot.NewSet(list...))
}

// holder is a node that applies what the store gives it.
type holder struct {
	set   *snapshot.Set
	held  Counter
	known bool
}

func (h *holder) apply(t *rapid.T, s *Store, step Step) {
	if step.Full {
		h.set = snapshot.NewSet()
	}
	h.set.Apply(step.Delta)
	if h.set.Digest() != step.Digest {
		t.Fatalf("step to %d (full %t) reaches another digest", step.Counter, step.Full)
	}
	h.held, h.known = step.Counter, true
}

// TestNodesReachTheStore: whatever happens, a node that takes its step holds
// what the store holds, also when it skips states, starts over, or is found by
// its digest alone.
func TestNodesReachTheStore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewStore()
		names := []model.NodeName{"a", "b"}
		nodes := map[model.NodeName]*holder{}
		first := map[model.NodeName]snapshot.Delta{}
		for _, n := range names {
			nodes[n] = &holder{set: snapshot.NewSet()}
			first[n] = upsert(meta(string(n)))
		}
		s.Publish(epoch, snapshot.Delta{}, first)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			node := rapid.SampledFrom(names).Draw(t, "node")
			h := nodes[node]
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				e := address(rapid.IntRange(0, 5).Draw(t, "address"), rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"))
				s.Publish(epoch, upsert(e), nil)
			case 1:
				s.Publish(epoch, snapshot.Delta{Deletes: []snapshot.EntryKey{address(rapid.IntRange(0, 5).Draw(t, "address"), "").ID()}}, nil)
			case 2:
				s.Publish(epoch, snapshot.Delta{}, map[model.NodeName]snapshot.Delta{node: upsert(local(rapid.IntRange(0, 5).Draw(t, "local")))})
			case 3:
				if step, ok := s.Next(node, h.held, h.known); ok {
					h.apply(t, s, step)
				}
			case 4: // a new leader knows no counter, but maybe the digest
				h.held, h.known = s.Locate(node, h.set.Digest())
			case 5:
				s.Raise(s.Counter() + Counter(rapid.IntRange(0, 3).Draw(t, "raise")))
			}
		}
		for node, h := range nodes {
			if step, ok := s.Next(node, h.held, h.known); ok {
				h.apply(t, s, step)
			}
			if want, _ := s.Digest(node); h.set.Digest() != want {
				t.Fatalf("node %s does not hold what the store holds", node)
			}
			if got, behind := s.Progress(node, h.held); got != s.Counter() || !behind.IsZero() {
				t.Fatalf("node %s is at %d of %d, behind since %v", node, got, s.Counter(), behind)
			}
		}
	})
}

func TestLocateFindsThePast(t *testing.T) {
	s := NewStore()
	s.Publish(epoch, snapshot.Delta{}, map[model.NodeName]snapshot.Delta{"a": upsert(meta("a"))})
	digests := map[snapshot.Digest]Counter{}
	for i := range 10 {
		if i%2 == 0 {
			s.Publish(epoch, upsert(address(i, "x")), nil)
		} else {
			s.Publish(epoch, snapshot.Delta{}, map[model.NodeName]snapshot.Delta{"a": upsert(local(i))})
		}
		d, _ := s.Digest("a")
		digests[d] = s.Counter()
	}
	for digest, want := range digests {
		if got, ok := s.Locate("a", digest); !ok || got != want {
			t.Errorf("state %d found as %d, %t", want, got, ok)
		}
	}
	if _, ok := s.Locate("a", snapshot.Digest{}); ok {
		t.Error("found a digest that never was")
	}
	if _, ok := s.Locate("b", snapshot.Digest{}); ok {
		t.Error("found a node that is not known")
	}
}

func TestForgottenStateGetsFull(t *testing.T) {
	s := NewStore()
	s.Publish(epoch, snapshot.Delta{}, map[model.NodeName]snapshot.Delta{"a": upsert(meta("a"))})
	held := s.Counter()
	for i := range maxLogEntries + 1 {
		s.Publish(epoch, upsert(address(i%7, fmt.Sprint(i))), nil)
	}
	if step, ok := s.Next("a", held, true); !ok || !step.Full {
		t.Errorf("full %t", step.Full)
	}
	if len(s.log) > maxLogEntries {
		t.Errorf("%d entries remembered", len(s.log))
	}
}

func TestProgressSkipsWhatIsNotForTheNode(t *testing.T) {
	s := NewStore()
	s.Publish(epoch, snapshot.Delta{}, map[model.NodeName]snapshot.Delta{"a": upsert(meta("a")), "b": upsert(meta("b"))})
	held := s.Counter()
	s.Publish(epoch.Add(time.Second), snapshot.Delta{}, map[model.NodeName]snapshot.Delta{"b": upsert(local(1))})
	s.Publish(epoch.Add(2*time.Second), snapshot.Delta{}, map[model.NodeName]snapshot.Delta{"b": upsert(local(2))})
	if got, behind := s.Progress("a", held); got != held+2 || !behind.IsZero() {
		t.Errorf("a node that lacks nothing is at %d, behind since %v", got, behind)
	}
	if _, ok := s.Next("a", held, true); ok {
		t.Error("a node that lacks nothing gets a step")
	}
	if got, behind := s.Progress("b", held); got != held || !behind.Equal(epoch.Add(time.Second)) {
		t.Errorf("a node that lacks two changes is at %d, behind since %v", got, behind)
	}
}

func TestPublishOfNothing(t *testing.T) {
	s := NewStore()
	changed := s.Changed()
	if got := s.Publish(epoch, snapshot.Delta{}, map[model.NodeName]snapshot.Delta{"a": {}}); got != 0 {
		t.Errorf("counter %d", got)
	}
	select {
	case <-changed:
		t.Error("nodes are woken for nothing")
	default:
	}
}
