package webhooks

import (
	"encoding/json"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

// isolating is a default-deny of a namespace.
func isolating(namespace, name string) *v1alpha1.NetworkPolicy {
	return &v1alpha1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindNetworkPolicy},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.NetworkPolicySpec{
			Mode:    v1alpha1.ModeEnforce,
			Subject: v1alpha1.NetworkPolicySubject{Pods: &v1alpha1.LabelSelector{}},
			Isolate: v1alpha1.IsolateBoth,
		},
	}
}

// denying is an Admin policy that denies all ingress of its subject.
func denying(name string, subject v1alpha1.LabelSelector) *v1alpha1.ClusterwidePolicy {
	return &v1alpha1.ClusterwidePolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindClusterwidePolicy},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.ClusterwidePolicySpec{
			Tier: v1alpha1.TierAdmin, Priority: 10, Mode: v1alpha1.ModeEnforce,
			Subject: v1alpha1.ClusterwidePolicySubject{Namespaces: &subject},
			Ingress: []v1alpha1.ClusterwidePolicyIngressRule{{Name: "all", Action: v1alpha1.ActionDeny}},
		},
	}
}

func labelled(key, value string) v1alpha1.LabelSelector {
	return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{key: v1alpha1.LabelValue(value)}}
}

func raw(t testing.TB, object any) []byte {
	t.Helper()
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func policyRequest(t testing.TB, object any) Request {
	t.Helper()
	out := Request{Kind: v1alpha1.KindNetworkPolicy}
	if _, ok := object.(*v1alpha1.ClusterwidePolicy); ok {
		out.Kind = v1alpha1.KindClusterwidePolicy
	}
	if err := unmarshal(raw(t, object), &out.Object); err != nil {
		t.Fatal(err)
	}
	return out
}
