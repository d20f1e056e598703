package status

import (
	"testing"
	"time"

	"palisade.dev/palisade/api/v1alpha1"
)

func TestDue(t *testing.T) {
	before := Policy(fresh(), facts(node("a", Realized)))
	more := facts(node("a", Realized))
	more.Endpoints = 5
	refused := facts(node("a", Waiting))
	refused.Verdict = Verdict{Reason: v1alpha1.ReasonInvalid, Message: "spec.x"}
	moving := facts(node("a", Realized), node("b", Waiting))
	trouble := facts(Node{Name: "a", Ready: true, Progress: Failed, Reason: v1alpha1.ReasonNodeRefused})
	gone := facts(node("a", Realized), Node{Name: "b", Ready: true, Away: Grace + 1})
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	tests := map[string]struct {
		facts  Facts
		memory memory
		after  time.Duration
		write  bool
	}{
		"nothing changed":                {facts(node("a", Realized)), memory{written: now}, 0, false},
		"condition changed":              {facts(node("a", Late)), memory{written: now}, 0, true},
		"nodes changed":                  {facts(node("a", Realized), node("b", Realized)), memory{written: now}, 0, true},
		"endpoints, just written":        {more, memory{written: ago(20 * time.Second)}, 40 * time.Second, true},
		"endpoints, a minute ago":        {more, memory{written: ago(time.Minute)}, 0, true},
		"endpoints, never written":       {more, memory{}, 0, true},
		"a node is waited for":           {moving, memory{written: ago(time.Hour)}, Hold, true},
		"waited for, for a while":        {moving, memory{held: ago(Hold / 4)}, Hold * 3 / 4, true},
		"waited for, for long":           {moving, memory{held: ago(Hold + 1)}, 0, true},
		"waited for in vain":             {gone, memory{}, 0, true},
		"refused, whoever is waited for": {refused, memory{}, 0, true},
		"trouble":                        {trouble, memory{}, 0, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := test.memory
			after, write := m.due(before, Policy(before, test.facts), test.facts.waiting(), now)
			if after != test.after || write != test.write {
				t.Errorf("after %v, %t; want %v, %t", after, write, test.after, test.write)
			}
		})
	}
}

// TestHeldBackOnce: a change is held back from when it was first seen, however
// often it is looked at, and one that went away holds back no later one.
func TestHeldBackOnce(t *testing.T) {
	before := Policy(fresh(), facts(node("a", Realized)))
	waiting := facts(node("a", Realized), node("b", Waiting))
	var m memory
	look := func(f Facts, at time.Duration) time.Duration {
		after, _ := m.due(before, Policy(before, f), f.waiting(), now.Add(at))
		return after
	}
	look(waiting, 0)
	if got := look(waiting, Hold/2); got != Hold/2 {
		t.Errorf("looked at again: %v more, want %v", got, Hold/2)
	}
	if got := look(waiting, Hold); got != 0 {
		t.Errorf("held back for %v more than %v", got, Hold)
	}
	look(facts(node("a", Realized)), Hold)
	if got := look(waiting, 10*Hold); got != Hold {
		t.Errorf("the next change is held back for %v, want %v", got, Hold)
	}
}
