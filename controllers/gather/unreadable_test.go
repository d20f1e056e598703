package gather

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/policy/model"
)

// revisionOf is a ControllerRevision under the name of a policy's record, with
// data of some other version.
func revisionOf(t *testing.T, o client.Object, data string) *appsv1.ControllerRevision {
	t.Helper()
	r, err := accepted.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Name: r.Name, Labels: map[string]string{
			accepted.Label: r.Ref.Kind.String(), accepted.PolicyLabel: accepted.PolicyKey(r.Ref),
		}},
		Revision: r.Generation, Data: runtime.RawExtension{Raw: []byte(data)},
	}
}

func pnp(uid types.UID, generation int64) *v1alpha1.NetworkPolicy {
	return &v1alpha1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: uid, Generation: generation},
		Spec:       v1alpha1.NetworkPolicySpec{Isolate: v1alpha1.IsolateNone, Subject: v1alpha1.NetworkPolicySubject{Pods: &v1alpha1.LabelSelector{}}},
	}
}

func cwp() *v1alpha1.ClusterwidePolicy {
	return &v1alpha1.ClusterwidePolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "base", UID: "c", Generation: 2},
		Spec:       v1alpha1.ClusterwidePolicySpec{Tier: v1alpha1.TierBaseline, Subject: v1alpha1.ClusterwidePolicySubject{Namespaces: &v1alpha1.LabelSelector{}}},
	}
}

func subject(s model.Subject) string { return fmt.Sprintf("%+v", s) }

// TestUnreadable: whatever an accepted spec closed stays closed, for those whom
// it was about as far as that can be read, and for all otherwise.
func TestUnreadable(t *testing.T) {
	all := func(namespace string) string {
		return subject(model.Subject{Kind: model.EndpointPod, Namespaces: model.NamespaceMatch{Name: namespace}})
	}
	labelled := model.Selector{Requirements: []model.Requirement{{Key: "app", Op: model.In, Values: []string{"db"}}}}
	db := subject(model.Subject{Kind: model.EndpointPod, Namespaces: model.NamespaceMatch{Name: "shop"}, Labels: labelled})
	tests := map[string]struct {
		object   client.Object
		data     string
		subject  string
		tier     model.Tier
		priority int32
		mode     model.Mode
	}{
		"garbage":          {pnp("u", 2), `{"garbage": true}`, all("shop"), model.TierNamespace, 0, model.Enforce},
		"no object":        {pnp("u", 2), `[]`, all("shop"), model.TierNamespace, 0, model.Enforce},
		"unknown field":    {pnp("u", 2), `{"spec": {"subject": {"pods": {"matchLabels": {"app": "db"}}}, "isolate": "Both", "quic": {}}}`, db, model.TierNamespace, 0, model.Enforce},
		"unknown in rule":  {pnp("u", 2), `{"spec": {"subject": {"pods": {"matchLabels": {"app": "db"}}}, "mode": "Audit", "isolate": "None", "ingress": [{"name": "a", "quic": 1}]}}`, db, model.TierNamespace, 0, model.Audit},
		"unknown subject":  {pnp("u", 2), `{"spec": {"subject": {"pods": {"matchLabels": {"app": "db"}}, "or": {}}}}`, all("shop"), model.TierNamespace, 0, model.Enforce},
		"unknown mode":     {pnp("u", 2), `{"spec": {"subject": {"pods": {"matchLabels": {"app": "db"}}}, "mode": "Maybe", "quic": 1}}`, db, model.TierNamespace, 0, model.Enforce},
		"another's":        {pnp("u", 2), `{"metadata": {"name": "web"}, "spec": {"subject": {"pods": {"matchLabels": {"app": "db"}}}, "isolate": "None"}}`, db, model.TierNamespace, 0, model.Enforce},
		"upstream":         {upstream(2, "10.0.0.0/8"), `{"spec": {"podSelector": {"matchLabels": {"app": "db"}}, "quic": {}}}`, db, model.TierNamespace, 0, model.Enforce},
		"upstream garbage": {upstream(2, "10.0.0.0/8"), `{"spec": 7}`, all("shop"), model.TierNamespace, 0, model.Enforce},
		"clusterwide":      {cwp(), `{"spec": {"tier": "Baseline", "priority": 7, "subject": {"namespaces": {}}, "quic": {}}}`, all(""), model.TierBaseline, 7, model.Enforce},
		"unknown tier":     {cwp(), `{"spec": {"tier": "Middle", "priority": 7, "subject": {"namespaces": {}}, "quic": {}}}`, all(""), model.TierAdmin, 7, model.Enforce},
		"cwp garbage":      {cwp(), `{}`, all(""), model.TierAdmin, 0, model.Enforce},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := newEngine()
			ref := accepted.RefOf(test.object)
			if _, known := e.noteRevision(revisionOf(t, test.object, test.data), false); known {
				t.Error("a revision that cannot be read says whose it is")
			}
			if c := e.lookAtPolicy(ref, test.object); c != nil {
				t.Fatalf("the accepted spec is tried again: %+v", c)
			}
			p := e.policies[ref]
			if got := subject(p.model.Subject); got != test.subject || p.model.Tier != test.tier || p.model.Priority != test.priority || p.model.Mode != test.mode || !denies(&p.model) {
				t.Errorf("in force is %+v", p.model)
			}
			out, ok := e.Outcome(Object{Policy: ref})
			if !ok || out.Accepted || out.Reason != v1alpha1.ReasonUnsupported || out.Older || !strings.Contains(out.Message, p.inForce.Name) {
				t.Errorf("outcome %+v, %t", out, ok)
			}
		})
	}
}

// TestUnreadableComesAndGoes: a record that cannot be read belongs to the object
// that it was made of and to no later one, and once it is gone, or something
// newer is accepted, the policy is as any other.
func TestUnreadableComesAndGoes(t *testing.T) {
	e := newEngine()
	object := pnp("u1", 2)
	ref := accepted.RefOf(object)
	revision := revisionOf(t, object, `{"garbage": true}`)
	e.leading.Store(false)
	e.lookAtPolicy(ref, object)
	if got, known := e.noteRevision(revision, false); !known || got != ref {
		t.Errorf("belongs to %v, %t", got, known)
	}
	e.lookAtPolicy(ref, object)
	if p := e.policies[ref]; p.inForce == nil || !denies(&p.model) {
		t.Errorf("a standby has in force %+v", p.model)
	}
	e.leading.Store(true)
	if c := e.lookAtPolicy(ref, pnp("u1", 3)); c == nil {
		t.Error("a newer spec is not tried")
	}
	if c := e.lookAtPolicy(ref, pnp("u2", 1)); c == nil || e.policies[ref].inForce != nil {
		t.Errorf("another object of the name has in force %+v", e.policies[ref].inForce)
	}
	if got := e.superfluous(map[key]bool{keyOf(ref): true}); len(got) != 1 || got[0].Name != revision.Name {
		t.Errorf("records to drop: %v", got)
	}
	e.lookAtPolicy(ref, object)
	if got, known := e.noteRevision(revision, true); !known || got != ref {
		t.Errorf("belonged to %v, %t", got, known)
	}
	if c := e.lookAtPolicy(ref, object); c == nil {
		t.Error("with its record gone the spec is not tried")
	}
	e.lookAtPolicy(ref, nil)
	if len(e.lost.policies)+len(e.lost.revisions)+len(e.records) != 0 {
		t.Errorf("remembered: %v %v %v", e.lost.policies, e.lost.revisions, e.records)
	}
}
