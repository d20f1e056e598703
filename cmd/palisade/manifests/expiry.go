package manifests

import (
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// Expiry is when a policy, or an exception of one, ends.
type Expiry struct {
	Policy    model.PolicyRef
	Exception string // SECTION/NAME; empty: the policy itself
	At        time.Time
}

// Expiries lists what ends after now, the earliest first.
func (o *Objects) Expiries(now time.Time) []Expiry {
	var out []Expiry
	add := func(ref model.PolicyRef, at *metav1.Time, rules *v1alpha1.RuntimeRules) {
		if at != nil && at.After(now) {
			out = append(out, Expiry{Policy: ref, At: at.Time})
		}
		if rules == nil || at != nil && !at.After(now) {
			return
		}
		exceptions := rules.Exceptions()
		for _, name := range slices.Sorted(maps.Keys(exceptions)) {
			if exceptions[name].After(now) {
				out = append(out, Expiry{ref, name, exceptions[name]})
			}
		}
	}
	for i := range o.ClusterwidePolicies {
		p := &o.ClusterwidePolicies[i]
		var rules *v1alpha1.RuntimeRules
		if p.Spec.Runtime != nil {
			rules = &p.Spec.Runtime.RuntimeRules
		}
		add(model.PolicyRef{Kind: model.KindClusterwide, Name: p.Name}, p.Spec.ExpiresAt, rules)
	}
	for i := range o.NetworkPolicies {
		p := &o.NetworkPolicies[i]
		add(model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: p.Namespace, Name: p.Name}, p.Spec.ExpiresAt, nil)
	}
	for i := range o.RuntimePolicies {
		p := &o.RuntimePolicies[i]
		add(model.PolicyRef{Kind: model.KindRuntime, Namespace: p.Namespace, Name: p.Name}, p.Spec.ExpiresAt, &p.Spec.RuntimeRules)
	}
	slices.SortStableFunc(out, func(a, b Expiry) int { return a.At.Compare(b.At) })
	return out
}

// String names what ends.
func (e Expiry) String() string {
	var b strings.Builder
	b.WriteString(e.Policy.String())
	if e.Exception != "" {
		b.WriteString(": the exception " + e.Exception)
	}
	b.WriteString(" ends at " + e.At.UTC().Format(time.RFC3339))
	return b.String()
}
