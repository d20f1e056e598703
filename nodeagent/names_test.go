package nodeagent

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/snapshot"
)

// After any transfers, taken or refused, the index is the one that a walk through
// all rows would make.
func TestNamesFollowTheRows(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h, held := newHolding(), snapshot.NewSet()
		for range rapid.IntRange(1, 8).Draw(r, "steps") {
			next := snapshot.NewSet(snapshot.Encode(snapshot.MetaRow{Node: node}))
			for uid, name := range rapid.MapOf(rapid.IntRange(0, 5), rapid.IntRange(0, 2)).Draw(r, "pods") {
				next.Put(snapshot.Encode(snapshot.LocalRow{UID: fmt.Sprint("u", uid), Namespace: "shop", Name: fmt.Sprint("p", name)}))
			}
			whole := rapid.Bool().Draw(r, "whole")
			from := held
			if whole {
				from = snapshot.NewSet()
			}
			s := h.prepare(snapshot.Diff(from, next), whole)
			if want := namesOf(next); !reflect.DeepEqual(s.names, want) {
				r.Fatalf("prepared %v, want %v", s.names, want)
			}
			if rapid.Bool().Draw(r, "taken") {
				h.keep(s, snapshot.Commit{}, snapshot.Signature{})
				held = next
			} else {
				h.revert(s)
			}
			if want := namesOf(held); h.set != nil && !reflect.DeepEqual(h.names, want) {
				r.Fatalf("held %v, want %v", h.names, want)
			}
		}
	})
}

func TestUIDsOfStaticPods(t *testing.T) {
	const hash, other = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	n := names{{"shop", "a"}: {"mirror"}, {"shop", "b"}: {"aaa", hash}}
	for name, tc := range map[string]struct {
		pod  facts.Pod
		want string
	}{
		"ordinary":           {facts.Pod{UID: "x", Namespace: "shop", Name: "a"}, "x"},
		"by its mirror":      {facts.Pod{UID: hash, Namespace: "shop", Name: "a"}, "mirror"},
		"known by its hash":  {facts.Pod{UID: hash, Namespace: "shop", Name: "b"}, hash},
		"first of two":       {facts.Pod{UID: other, Namespace: "shop", Name: "b"}, "aaa"},
		"of another, unseen": {facts.Pod{UID: hash, Namespace: "else", Name: "a"}, hash},
	} {
		if got := n.uid(tc.pod); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

// What an update costs must not grow with the cluster: a static pod is found without
// a look at the rows.
func TestStaticPodsCostNoWalk(t *testing.T) {
	pod := facts.Pod{UID: "0123456789abcdef0123456789abcdef", Namespace: "shop", Name: "p7"}
	cost := func(pods int) float64 {
		all := make([]string, pods)
		for i := range all {
			all[i] = fmt.Sprint("p", i)
		}
		h := newHolding()
		h.keep(h.prepare(snapshot.Diff(snapshot.NewSet(), set(node, all...)), true), snapshot.Commit{}, snapshot.Signature{})
		return testing.AllocsPerRun(10, func() { toLayout(h.names, []facts.Binding{{Pod: pod}}) })
	}
	if few, many := cost(10), cost(200); many > few {
		t.Errorf("%g allocations with 200 pods, %g with 10", many, few)
	}
}
