package gather

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"

	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/policy/model"
)

// lost are the accepted specs that this version cannot read, and the policies
// that may miss one. recordsMu guards it.
type lost struct {
	revisions map[string]map[string]*accepted.Unreadable // by accepted.PolicyKey and name
	policies  map[string]model.PolicyRef                 // by accepted.PolicyKey
}

// noteRevision keeps the record that a ControllerRevision holds at hand, and
// says whose it is, if somebody is known to whom it may belong.
func (e *Engine) noteRevision(revision *appsv1.ControllerRevision, deleted bool) (model.PolicyRef, bool) {
	r, err := accepted.Read(revision)
	if err == nil {
		e.noteRecord(r, deleted)
		return r.Ref, true
	}
	e.recordsMu.Lock()
	defer e.recordsMu.Unlock()
	u := accepted.NewUnreadable(revision, err)
	ref, known := e.lost.policies[u.Policy]
	if deleted {
		if delete(e.lost.revisions[u.Policy], u.Name); len(e.lost.revisions[u.Policy]) == 0 {
			delete(e.lost.revisions, u.Policy)
		}
		e.forgetRecord(ref, u.Name)
		return ref, known
	}
	e.Log.Error(err, "accepted spec is not readable")
	if e.lost.revisions[u.Policy] == nil {
		e.lost.revisions[u.Policy] = map[string]*accepted.Unreadable{}
	}
	e.lost.revisions[u.Policy][u.Name] = u
	return ref, known
}

// recognise gives a policy its records that cannot be read: only together with
// the object can it be told whose they are.
func (e *Engine) recognise(ref model.PolicyRef, uid types.UID) {
	e.recordsMu.Lock()
	key := accepted.PolicyKey(ref)
	e.lost.policies[key] = ref
	var found []*accepted.Record
	for _, u := range e.lost.revisions[key] {
		found = append(found, u.Of(ref, uid))
	}
	e.recordsMu.Unlock()
	for _, r := range found {
		e.noteRecord(r, false)
	}
}

// forgetOwner forgets a policy that is gone, once no record of it is left.
func (e *Engine) forgetOwner(ref model.PolicyRef) {
	e.recordsMu.Lock()
	defer e.recordsMu.Unlock()
	if key := accepted.PolicyKey(ref); len(e.lost.revisions[key]) == 0 {
		delete(e.lost.policies, key)
	}
}

// lossOf says what the subjects of a policy suffer, and what ends it.
func lossOf(p *policy) string {
	what := "its subjects are cut off in ingress and egress"
	if p.inForce.Ref.Kind == model.KindRuntime {
		what = "its containers are denied whatever they ask for anew"
	}
	if p.model.Mode == model.Audit {
		what = "everything of its subjects is staged as denied, and nothing is enforced"
	}
	return fmt.Sprintf("; the accepted spec (generation %d) cannot be read by this version: %v; until it can %s, as rule %s: "+
		"run the version that accepted it, apply another spec, or delete controllerrevision %s to have the present one judged anew",
		p.inForce.Generation, p.lost, what, accepted.RuleUnreadable, p.inForce.Name)
}
