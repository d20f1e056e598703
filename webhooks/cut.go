package webhooks

import (
	"fmt"
	"net/netip"
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
)

// cut is a connection of the policy system, or something that it has to do, that
// a policy newly denies.
type cut struct {
	What      string `json:"what"`
	Direction string `json:"direction"` // of the policy's rule: ingress, egress or runtime
	Rule      string `json:"rule"`      // what denies it
	Policy    string `json:"policy"`    // whose rule that is; another's where this one took its Accept away
}

// extent is how many of the cluster's nodes a judgement looked at.
type extent struct{ Judged, Nodes int }

func (e extent) String() string {
	return fmt.Sprintf("only %d of %d nodes were judged in the time there is: the policy may cut off others", e.Judged, e.Nodes)
}

func (e extent) partial() bool { return e.Judged < e.Nodes }

// cuts judges what the policy system needs twice, with the policy put in and,
// where that denies, as things are. It judges all nodes, one after the other,
// while there is time for another; the extent says how far it got.
func cuts(system System, policy model.Policy, more func() bool) ([]cut, extent) {
	policies := slices.DeleteFunc(slices.Clone(system.Cluster.Policies), func(p model.Policy) bool { return p.Ref == policy.Ref })
	policies = append(policies, policy)
	claims := claimsOf(system.Cluster)

	out, seen := []cut{}, extent{Nodes: nodesOf(system.Needs)}
	var last model.NodeName
	for _, need := range system.Needs {
		if need.Node != last {
			if !more() {
				return out, seen
			}
			last = need.Node
			seen.Judged++
		}
		// The evaluator walks all endpoints for each connection; those of its two
		// addresses are all that it looks for.
		before := system.Cluster
		before.Endpoints = slices.Concat(claims[need.Connection.From], claims[need.Connection.To])
		after := before
		after.Policies = policies
		outcome := reference.Judge(after, need.Connection)
		if outcome.Verdict() != model.Deny || reference.Judge(before, need.Connection).Verdict() == model.Deny {
			continue // where it is cut already, this policy is not to blame
		}
		if d := outcome.Egress.Enforced; d.Verdict == model.Deny {
			out = append(out, cut{need.What, "egress", d.By.Rule, d.By.Policy.String()})
		}
		if d := outcome.Ingress.Enforced; d.Verdict == model.Deny {
			out = append(out, cut{need.What, "ingress", d.By.Rule, d.By.Policy.String()})
		}
	}
	return out, seen
}

// claimsOf lists the endpoints that claim each address.
func claimsOf(cluster model.Cluster) map[netip.Addr][]model.Endpoint {
	out := map[netip.Addr][]model.Endpoint{}
	for _, e := range cluster.Endpoints {
		for _, a := range e.Addresses {
			out[a] = append(out[a], e)
		}
	}
	return out
}

// nodesOf counts the nodes that have needs.
func nodesOf(needs []Need) int {
	names := map[model.NodeName]struct{}{}
	for _, n := range needs {
		if n.Node != "" {
			names[n.Node] = struct{}{}
		}
	}
	return len(names)
}
