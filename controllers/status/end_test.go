package status

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/client-go/tools/events"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// TestAnnounceEnd: who wrote a policy hears of its end a day before it, once for each end.
func TestAnnounceEnd(t *testing.T) {
	end := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	recorder := events.NewFakeRecorder(10)
	r := &Policies{Shared: &Shared{Recorder: recorder}, Kind: model.KindNetworkPolicy}
	object := &v1alpha1.NetworkPolicy{}
	told := func(f Facts) string {
		r.announceEnd(model.PolicyRef{Name: "p"}, object, &f)
		select {
		case text := <-recorder.Events:
			return text
		default:
			return ""
		}
	}
	at := func(before time.Duration) Facts { return Facts{Now: end.Add(-before), ExpiresAt: end} }
	want := func(end time.Time) string {
		return fmt.Sprintf("Warning Expiring not in force from %s on: what only this policy denies is allowed then", end.Format(time.RFC3339))
	}
	observing := at(time.Hour)
	observing.Audit = true
	if have := again(0, at(48*time.Hour)); have != 24*time.Hour {
		t.Errorf("two days before, it looks again in %v", have)
	}
	if have := again(0, at(time.Hour)); have != time.Hour {
		t.Errorf("an hour before, it looks again in %v", have)
	}
	later := at(time.Hour)
	later.ExpiresAt = end.Add(time.Hour)
	for _, step := range []struct {
		name  string
		facts Facts
		want  string
	}{
		{"two days before", at(48 * time.Hour), ""},
		{"in Audit", observing, ""},
		{"without an end", Facts{Now: end}, ""},
		{"a day before", at(24 * time.Hour), want(end)},
		{"again", at(23 * time.Hour), ""},
		{"with another end", later, want(later.ExpiresAt)},
		{"after the end", at(0), ""},
	} {
		if have := told(step.facts); have != step.want {
			t.Errorf("%s: told %q, want %q", step.name, have, step.want)
		}
	}
}
