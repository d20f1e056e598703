package webhooks

import (
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
)

// stops judges what the policy system has to do twice, with the policy put in and,
// where that stops it, as things are.
func stops(system System, policy model.Policy) []cut {
	policies := slices.DeleteFunc(slices.Clone(system.Cluster.Policies), func(p model.Policy) bool { return p.Ref == policy.Ref })
	policies = append(policies, policy)
	if !slices.ContainsFunc(policies, func(p model.Policy) bool { return p.Runtime != nil }) {
		return nil
	}
	claims := claimsOf(system.Cluster)
	var out []cut
	for _, act := range system.Acts {
		// Of all endpoints, who acts and who has the address are looked for.
		before := system.Cluster
		before.Endpoints = slices.Clone(claims[act.Operation.Address])
		for _, e := range system.Cluster.Endpoints {
			if e.ID == act.Who && !slices.ContainsFunc(before.Endpoints, func(c model.Endpoint) bool { return c.ID == e.ID }) {
				before.Endpoints = append(before.Endpoints, e)
			}
		}
		after := before
		after.Policies = policies
		d := reference.JudgeRuntime(after, act.Who, act.Container, act.Operation).Enforced
		if d.Verdict == model.Allow || reference.JudgeRuntime(before, act.Who, act.Container, act.Operation).Enforced.Verdict != model.Allow {
			continue // where it is stopped already, this policy is not to blame
		}
		out = append(out, cut{act.What, "runtime", d.By.Rule, d.By.Policy.String()})
	}
	return out
}
