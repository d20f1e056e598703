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

// noShell kills shells in a namespace.
func noShell(namespace, name string, pods v1alpha1.LabelSelector) *v1alpha1.RuntimePolicy {
	return &v1alpha1.RuntimePolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindRuntimePolicy},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.RuntimePolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			Subject:      v1alpha1.RuntimePolicySubject{Pods: pods},
			RuntimeRules: v1alpha1.RuntimeRules{Executables: killing("/usr/bin/dash")},
		},
	}
}

// killing is a section that kills who executes a file.
func killing(path v1alpha1.Path) *v1alpha1.ExecutableSection {
	return &v1alpha1.ExecutableSection{Default: v1alpha1.ActionAccept, Rules: []v1alpha1.ExecutableRule{{
		RuntimeRule: v1alpha1.RuntimeRule{Name: "shell", Action: v1alpha1.ActionKill},
		PathMatch:   v1alpha1.PathMatch{Paths: []v1alpha1.Path{path}},
	}}}
}

// onlyRuntime is a clusterwide policy without rules about connections.
func onlyRuntime(name string, subject v1alpha1.ClusterwidePolicySubject) *v1alpha1.ClusterwidePolicy {
	out := denying(name, v1alpha1.LabelSelector{})
	out.Spec.Ingress, out.Spec.Subject = nil, subject
	out.Spec.Runtime = &v1alpha1.ClusterwideRuntime{RuntimeRules: v1alpha1.RuntimeRules{Executables: killing("/usr/bin/dash")}}
	return out
}

// observing is the policy in mode Audit.
func observing(p *v1alpha1.ClusterwidePolicy) *v1alpha1.ClusterwidePolicy {
	out := p.DeepCopy()
	out.Spec.Mode = v1alpha1.ModeAudit
	return out
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
	switch object.(type) {
	case *v1alpha1.ClusterwidePolicy:
		out.Kind = v1alpha1.KindClusterwidePolicy
	case *v1alpha1.RuntimePolicy:
		out.Kind = v1alpha1.KindRuntimePolicy
	}
	if err := unmarshal(raw(t, object), &out.Object); err != nil {
		t.Fatal(err)
	}
	return out
}
