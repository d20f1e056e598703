package datapath

import (
	"slices"
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// TestEventsOfRulesThatLeft: an event is of the rule that decided, also where that has
// left and its slot is another's by the time the event is read.
func TestEventsOfRulesThatLeft(t *testing.T) {
	deny := func(t *testing.T, l *lab) {
		t.Helper()
		l.apply(newState().protect("b", false, "c:8080/tcp").build())
		l.pods["b"].serveTCP(8081)
		can(t, "c to b, another port", l.pods["c"], l.pods["b"].v4, 8081, false)
	}
	by := func(t *testing.T, l *lab) {
		t.Helper()
		if got := l.deniedBy(l.pods["c"].v4, l.pods["b"].v4); got != "in-b" {
			t.Errorf("denied by %q, want in-b", got)
		}
	}
	t.Run("its slot is another's", func(t *testing.T) {
		l := newLab(t)
		deny(t, l)
		slot := l.slotOf("in-b")
		l.apply(newState().protect("a", false, "c:8080/tcp").build())
		l.apply(newState().protect("a", false, "c:8080/tcp").protect("d", false, "c:8080/tcp").build())
		if ids := l.dp.engine.layout.RuleIDs(); ids[slot] != snapshot.NewRuleID([]byte("in-d")) {
			t.Fatalf("slot %d is not taken again: the test shows nothing", slot)
		}
		by(t, l)
	})
	t.Run("while nobody was there", func(t *testing.T) {
		l := newLab(t)
		deny(t, l)
		slot := l.slotOf("in-b")
		if err := l.dp.Close(); err != nil {
			t.Fatal(err)
		}
		l.reopen()
		l.apply(newState().build())
		left := l.dp.Departed()
		i := indexOf(left, slot)
		if i < 0 || !left[i].Nameless || left[i].Row.ID != snapshot.NewRuleID([]byte("in-b")) {
			t.Fatalf("left: %+v", left)
		}
		left[i].Nameless, left[i].Row.Rule = false, "in-b"
		l.dp.engine.departed = nil
		l.dp.Recall(left)
		by(t, l)
	})
}

func indexOf(left []Departed, slot bpf.RuleSlot) int {
	return slices.IndexFunc(left, func(d Departed) bool { return d.Slot == slot })
}

// slotOf is the slot of a rule in force.
func (l *lab) slotOf(rule string) bpf.RuleSlot {
	l.t.Helper()
	for slot, id := range l.dp.engine.layout.RuleIDs() {
		if id == snapshot.NewRuleID([]byte(rule)) {
			return slot
		}
	}
	l.t.Fatalf("no rule %s is in force", rule)
	return 0
}
