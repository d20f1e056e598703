package webhooks

import (
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
)

// cut is a connection of the policy system that a policy newly denies.
type cut struct {
	What      string `json:"what"`
	Direction string `json:"direction"` // of the policy's rule: ingress or egress
	Rule      string `json:"rule"`      // what denies it
	Policy    string `json:"policy"`    // whose rule that is; another's where this one took its Accept away
}

// cuts judges what the policy system needs twice, as things are and with the
// policy put in. The reference evaluator is fast enough: there are a few
// connections and only the policies that select the system's pods.
func cuts(system System, policy model.Policy) []cut {
	after := system.Cluster
	after.Policies = slices.DeleteFunc(slices.Clone(system.Cluster.Policies), func(p model.Policy) bool { return p.Ref == policy.Ref })
	after.Policies = append(after.Policies, policy)

	out := []cut{}
	for _, need := range system.Needs {
		if reference.Judge(system.Cluster, need.Connection).Verdict() == model.Deny {
			continue // it is cut already; this policy is not to blame
		}
		outcome := reference.Judge(after, need.Connection)
		if d := outcome.Egress.Enforced; d.Verdict == model.Deny {
			out = append(out, cut{need.What, "egress", d.By.Rule, d.By.Policy.String()})
		}
		if d := outcome.Ingress.Enforced; d.Verdict == model.Deny {
			out = append(out, cut{need.What, "ingress", d.By.Rule, d.By.Policy.String()})
		}
	}
	return out
}
