package accepted

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
)

func policy(uid types.UID, generation int64) *v1alpha1.NetworkPolicy {
	return &v1alpha1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: uid, Generation: generation, Labels: map[string]string{"a": "b"}},
		Spec:       v1alpha1.NetworkPolicySpec{Isolate: v1alpha1.IsolateIngress},
		Status:     v1alpha1.PolicyStatus{ObservedGeneration: 7},
	}
}

func record(t *testing.T, o client.Object) *Record {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecordSurvives(t *testing.T) {
	objects := map[string]client.Object{
		"pnp":    policy("u1", 3),
		"cwp":    &v1alpha1.ClusterwidePolicy{ObjectMeta: metav1.ObjectMeta{Name: "db", UID: "u2", Generation: 1}, Spec: v1alpha1.ClusterwidePolicySpec{Tier: v1alpha1.TierAdmin, Priority: 5}},
		"netpol": &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "u3", Generation: 2}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}}},
	}
	seen := map[string]string{}
	for name, o := range objects {
		t.Run(name, func(t *testing.T) {
			r := record(t, o)
			revision, err := r.revision("palisade-system")
			if err != nil {
				t.Fatal(err)
			}
			back, err := Read(revision)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(r, back); d != "" {
				t.Error(d)
			}
			if other, ok := seen[r.Name]; ok {
				t.Errorf("shares its name with %s", other)
			}
			seen[r.Name] = name
			revision.Name = "other"
			if _, err := Read(revision); err == nil {
				t.Error("a record under another name is read")
			}
		})
	}
}

// TestUnknownFieldIsRefused: what another version meant by it is not known here.
func TestUnknownFieldIsRefused(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"in spec": func(s string) string { return strings.Replace(s, `"isolate"`, `"quic":{},"isolate"`, 1) },
		"on top":  func(s string) string { return strings.Replace(s, `"spec"`, `"rules":[],"spec"`, 1) },
		"after":   func(s string) string { return s + "{}" },
	} {
		t.Run(name, func(t *testing.T) {
			revision, err := record(t, policy("u1", 3)).revision("palisade-system")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Read(revision); err != nil {
				t.Fatal(err)
			}
			revision.Data.Raw = []byte(change(string(revision.Data.Raw)))
			if r, err := Read(revision); err == nil {
				t.Errorf("read as %+v", r.Policy)
			}
		})
	}
}

func TestRecordHoldsNoStatus(t *testing.T) {
	got := record(t, policy("u1", 3)).Policy.(*v1alpha1.NetworkPolicy)
	if got.Status.ObservedGeneration != 0 || got.Labels != nil || got.Spec.Isolate != v1alpha1.IsolateIngress {
		t.Errorf("%+v", got)
	}
}

func TestNewer(t *testing.T) {
	at := func(r *Record, s int64) *Record { r.At = time.Unix(s, 0); return r }
	one, two := at(record(t, policy("u1", 1)), 9), at(record(t, policy("u1", 2)), 9)
	again := at(record(t, policy("u2", 1)), 10)
	for name, pair := range map[string][2]*Record{"generation": {two, one}, "recreated": {again, two}, "anything": {one, nil}} {
		if !pair[0].Newer(pair[1]) {
			t.Errorf("%s: not newer", name)
		}
		if pair[1] != nil && pair[1].Newer(pair[0]) {
			t.Errorf("%s: newer both ways", name)
		}
	}
}

func TestChoose(t *testing.T) {
	kept := record(t, policy("u1", 2))
	tests := map[string]struct {
		now    client.Object
		newest *Record
		leader bool
		want   Choice
	}{
		"deleted":             {nil, kept, true, Choice{}},
		"new, leader":         {policy("u1", 1), nil, true, Choice{Try: true}},
		"new, standby":        {policy("u1", 1), nil, false, Choice{}},
		"accepted":            {policy("u1", 2), kept, true, Choice{InForce: kept}},
		"changed, leader":     {policy("u1", 3), kept, true, Choice{InForce: kept, Try: true}},
		"changed, standby":    {policy("u1", 3), kept, false, Choice{InForce: kept}},
		"recreated, leader":   {policy("u2", 1), kept, true, Choice{Try: true}},
		"recreated, standby":  {policy("u2", 1), kept, false, Choice{}},
		"record is ahead":     {policy("u1", 1), kept, true, Choice{InForce: kept}},
		"accepted, a standby": {policy("u1", 2), kept, false, Choice{InForce: kept}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Choose(test.now, test.newest, test.leader); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
