package propose

import (
	"fmt"

	"palisade.dev/palisade/api/v1alpha1"
)

// Merge adds the rules of a proposal to a policy that is there already: what it
// accepts it goes on accepting, and no rule of it changes. A section that the policy
// does not have is added; its default is the proposal's.
func Merge(policy *v1alpha1.RuntimeRules, p v1alpha1.RuntimeRules) {
	if s := p.Executables; s != nil {
		if policy.Executables == nil {
			policy.Executables = s
		} else {
			policy.Executables.Rules = add(policy.Executables.Rules, s.Rules, func(r *v1alpha1.ExecutableRule) *v1alpha1.RuleName { return &r.Name })
		}
	}
	if s := p.Files; s != nil {
		if policy.Files == nil {
			policy.Files = s
		} else {
			policy.Files.Rules = add(policy.Files.Rules, s.Rules, func(r *v1alpha1.FileRule) *v1alpha1.RuleName { return &r.Name })
		}
	}
	if s := p.Privileges; s != nil {
		if policy.Privileges == nil {
			policy.Privileges = s
		} else {
			policy.Privileges.Rules = add(policy.Privileges.Rules, s.Rules, func(r *v1alpha1.PrivilegeRule) *v1alpha1.RuleName { return &r.Name })
		}
	}
	if s := p.Network; s != nil {
		if policy.Network == nil {
			policy.Network = s
		} else {
			policy.Network.Rules = add(policy.Network.Rules, s.Rules, func(r *v1alpha1.SocketRule) *v1alpha1.RuleName { return &r.Name })
		}
	}
}

// add appends rules under names that are free.
func add[R any](old, more []R, name func(*R) *v1alpha1.RuleName) []R {
	taken := map[v1alpha1.RuleName]bool{}
	for i := range old {
		taken[*name(&old[i])] = true
	}
	for i := range more {
		r := more[i]
		base := *name(&r)
		for n := 2; taken[*name(&r)]; n++ {
			*name(&r) = v1alpha1.RuleName(fmt.Sprintf("%s-%d", base, n))
		}
		taken[*name(&r)] = true
		old = append(old, r)
	}
	return old
}
