package v1alpha1

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func TestSelector(t *testing.T) {
	backend := labels.Set{"app": "backend", "tier": "1"}
	for name, tc := range map[string]struct {
		selector *LabelSelector
		want     bool
	}{
		"nil selects nothing":      {nil, false},
		"empty selects everything": {&LabelSelector{}, true},
		"label":                    {&LabelSelector{MatchLabels: map[string]LabelValue{"app": "backend"}}, true},
		"other value":              {&LabelSelector{MatchLabels: map[string]LabelValue{"app": "db"}}, false},
		"In": {&LabelSelector{MatchExpressions: []LabelSelectorRequirement{
			{Key: "tier", Operator: metav1.LabelSelectorOpIn, Values: []LabelValue{"0", "1"}},
		}}, true},
		"NotIn without the key": {&LabelSelector{MatchExpressions: []LabelSelectorRequirement{
			{Key: "zone", Operator: metav1.LabelSelectorOpNotIn, Values: []LabelValue{"a"}},
		}}, true},
		"all must hold": {&LabelSelector{
			MatchLabels:      map[string]LabelValue{"app": "backend"},
			MatchExpressions: []LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpDoesNotExist}},
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			selector, err := tc.selector.Selector()
			if err != nil {
				t.Fatal(err)
			}
			if have := selector.Matches(backend); have != tc.want {
				t.Errorf("%s matches %v: %v, want %v", selector, backend, have, tc.want)
			}
		})
	}
}

func TestIsolation(t *testing.T) {
	for isolation, want := range map[Isolation][2]bool{
		IsolateNone: {false, false}, IsolateIngress: {true, false}, IsolateEgress: {false, true}, IsolateBoth: {true, true},
	} {
		if have := [2]bool{isolation.Ingress(), isolation.Egress()}; have != want {
			t.Errorf("%s covers ingress and egress %v, want %v", isolation, have, want)
		}
	}
}
