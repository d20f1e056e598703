package status

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

// countEvery is how often a status is written for its number of endpoints alone.
const countEvery = time.Minute

// Hold is how long a change of status is held back while nodes are waited for:
// most acknowledge sooner, and then one write says it all. It also bounds how
// often nodes that acknowledge one after the other are counted.
const Hold = 2 * time.Second

// memory is what is remembered of a policy from one look to the next.
type memory struct {
	written  time.Time // the status, last
	held     time.Time // the first look at a change that is held back; zero: none is
	replaced string    // the version of the object that the last write replaced
	ending   time.Time // the end that was announced
	settled  bool      // only time and trouble change the status
}

// due says when a computed status is to be written: at once, after a while, or,
// false, never. waiting says that nodes will change it soon.
func (m *memory) due(before, after v1alpha1.PolicyStatus, waiting bool, now time.Time) (time.Duration, bool) {
	if equality.Semantic.DeepEqual(before, after) {
		m.held = time.Time{}
		return 0, false
	}
	before.Endpoints = after.Endpoints
	if equality.Semantic.DeepEqual(before, after) {
		m.held = time.Time{}
		return max(0, countEvery-now.Sub(m.written)), true
	}
	if !waiting {
		return 0, true
	}
	if m.held.IsZero() {
		m.held = now
	}
	return max(0, Hold-now.Sub(m.held)), true
}

// Transition is a condition whose status has changed.
type Transition struct {
	Type    string
	Status  metav1.ConditionStatus
	Reason  string
	Message string
}

// Transitions lists the conditions of after that say something else than in
// before, in the order of after.
func Transitions(before, after []metav1.Condition) []Transition {
	var out []Transition
	for _, c := range after {
		old := meta.FindStatusCondition(before, c.Type)
		if old == nil || old.Status != c.Status || old.Reason != c.Reason {
			out = append(out, Transition{c.Type, c.Status, c.Reason, c.Message})
		}
	}
	return out
}

// worthAnEvent: people look for what began to hold or stopped, not for a first
// Unknown or for a change that another condition announces as well.
func (t Transition) worthAnEvent() bool {
	switch t.Type {
	case v1alpha1.ConditionAccepted, v1alpha1.ConditionReady, v1alpha1.ConditionExpired:
		return t.Status != metav1.ConditionUnknown && t.Reason != v1alpha1.ReasonPending
	}
	return false
}
