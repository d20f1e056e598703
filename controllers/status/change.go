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

// due says when a computed status is to be written: at once, after a while, or,
// false, never. last is when it was written before.
func due(before, after v1alpha1.PolicyStatus, last, now time.Time) (time.Duration, bool) {
	if equality.Semantic.DeepEqual(before, after) {
		return 0, false
	}
	before.Endpoints = after.Endpoints
	if !equality.Semantic.DeepEqual(before, after) {
		return 0, true
	}
	return max(0, countEvery-now.Sub(last)), true
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
