package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/policy/model"
)

// Notice is how long before its end a policy's author is told of it.
const Notice = 24 * time.Hour

// reasonExpiring is the reason of the Event that tells of it.
const reasonExpiring = "Expiring"

// ends reports whether a policy that enforces ends soon.
func (f *Facts) ends() bool {
	return !f.Audit && !f.ExpiresAt.IsZero() && !f.expired() && !f.Now.Before(f.ExpiresAt.Add(-Notice))
}

// announceEnd tells once of an end that is near, and once more after a restart of the
// controller: of nothing else that ends by itself does anybody hear beforehand.
func (r *Policies) announceEnd(ref model.PolicyRef, object client.Object, f *Facts) {
	if !f.ends() {
		return
	}
	told := false
	r.note(ref, func(m *memory) {
		told = m.ending.Equal(f.ExpiresAt)
		m.ending = f.ExpiresAt
	})
	if !told {
		r.Recorder.Eventf(object, nil, corev1.EventTypeWarning, reasonExpiring, "Expire",
			"not in force from %s on: what only this policy denies is allowed then", f.ExpiresAt.UTC().Format(time.RFC3339))
	}
}
