package webhooks

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"palisade.dev/palisade/api/v1alpha1"
)

// Two keys of three values and absence: every set of labels can be tried, with
// "other" standing for the values that no selector names.
var (
	someKeys   = []string{"a", "b"}
	someValues = []string{"x", "y", "z"}
)

func TestSatisfiableIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s1, s2 := drawSelector(t, "first"), drawSelector(t, "second")
		m1, m2 := compiled(t, s1), compiled(t, s2)
		want := false
		for _, a := range append([]string{"", "other"}, someValues...) {
			for _, b := range append([]string{"", "other"}, someValues...) {
				set := labels.Set{}
				if a != "" {
					set["a"] = a
				}
				if b != "" {
					set["b"] = b
				}
				want = want || m1.Matches(set) && m2.Matches(set)
			}
		}
		if have := satisfiable(s1, s2); have != want {
			t.Fatalf("satisfiable = %v, want %v: %s and %s", have, want, m1, m2)
		}
	})
}

func drawSelector(t *rapid.T, name string) v1alpha1.LabelSelector {
	var s v1alpha1.LabelSelector
	for range rapid.IntRange(0, 3).Draw(t, name+" requirements") {
		r := v1alpha1.LabelSelectorRequirement{
			Key: v1alpha1.LabelKey(rapid.SampledFrom(someKeys).Draw(t, name+" key")),
			Operator: rapid.SampledFrom([]metav1.LabelSelectorOperator{
				metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn, metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist,
			}).Draw(t, name+" operator"),
		}
		if r.Operator == metav1.LabelSelectorOpIn || r.Operator == metav1.LabelSelectorOpNotIn {
			for _, v := range rapid.SliceOfNDistinct(rapid.SampledFrom(someValues), 1, 3, rapid.ID[string]).Draw(t, name+" values") {
				r.Values = append(r.Values, v1alpha1.LabelValue(v))
			}
		}
		s.MatchExpressions = append(s.MatchExpressions, r)
	}
	if rapid.Bool().Draw(t, name+" has matchLabels") {
		s.MatchLabels = map[string]v1alpha1.LabelValue{"a": v1alpha1.LabelValue(rapid.SampledFrom(someValues).Draw(t, name+" label"))}
	}
	return s
}

func compiled(t *rapid.T, s v1alpha1.LabelSelector) labels.Selector {
	out, err := s.Selector()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOverlapOfSubjects(t *testing.T) {
	a, b := labelled("app", "a"), labelled("app", "b")
	all := v1alpha1.LabelSelector{}
	pods := func(ns, p v1alpha1.LabelSelector) v1alpha1.ClusterwidePolicySubject {
		return v1alpha1.ClusterwidePolicySubject{Pods: &v1alpha1.NamespacedPods{NamespaceSelector: ns, PodSelector: p}}
	}
	external := func(ns, e v1alpha1.LabelSelector) v1alpha1.ClusterwidePolicySubject {
		return v1alpha1.ClusterwidePolicySubject{ExternalWorkloads: &v1alpha1.NamespacedExternalWorkloads{NamespaceSelector: ns, Selector: e}}
	}
	namespaces := func(ns v1alpha1.LabelSelector) v1alpha1.ClusterwidePolicySubject {
		return v1alpha1.ClusterwidePolicySubject{Namespaces: &ns}
	}
	nodes := func(n v1alpha1.LabelSelector) v1alpha1.ClusterwidePolicySubject {
		return v1alpha1.ClusterwidePolicySubject{Nodes: &n}
	}
	tests := map[string]struct {
		a, b v1alpha1.ClusterwidePolicySubject
		want bool
	}{
		"everybody and some":               {namespaces(all), pods(a, b), true},
		"namespaces apart":                 {namespaces(a), pods(b, all), false},
		"pods apart in the same namespace": {pods(a, a), pods(a, b), false},
		"labels of different keys":         {pods(all, a), pods(all, labelled("tier", "x")), true},
		"pods and external workloads":      {pods(all, all), external(all, all), false},
		"nodes and pods":                   {nodes(all), pods(all, all), false},
		"nodes apart":                      {nodes(a), nodes(b), false},
		"nodes":                            {nodes(all), nodes(b), true},
		"external workloads":               {external(all, a), external(all, all), true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if have := overlap(tc.a, tc.b); have != tc.want {
				t.Errorf("overlap = %v, want %v", have, tc.want)
			}
			if have := overlap(tc.b, tc.a); have != tc.want {
				t.Errorf("the other way round: overlap = %v, want %v", have, tc.want)
			}
		})
	}
}
