package reference

import (
	"net/netip"
	"slices"

	"palisade.dev/palisade/policy/model"
)

// Judge answers one connection in one cluster.
func Judge(cluster model.Cluster, conn model.Connection) model.Outcome {
	q := question{
		cluster: cluster,
		conn:    conn,
		client:  end{addr: conn.From, endpoint: owner(cluster, conn.From)},
		server:  end{addr: conn.To, endpoint: owner(cluster, conn.To)},
	}
	// Both ends are asked, the client about what it sends and the server about what
	// it receives; each of them can refuse.
	return model.Outcome{
		Egress:  q.judge(model.Egress, q.client, q.server),
		Ingress: q.judge(model.Ingress, q.server, q.client),
	}
}

// end is one end of a connection: an address, and the endpoint that has it.
type end struct {
	addr     netip.Addr
	endpoint *model.Endpoint // nil: the world
}

// question is a connection with both of its ends looked up.
type question struct {
	cluster        model.Cluster
	conn           model.Connection
	client, server end
}

// owner is the endpoint that has an address: the smallest of those that claim it.
func owner(cluster model.Cluster, addr netip.Addr) *model.Endpoint {
	var found *model.Endpoint
	for i := range cluster.Endpoints {
		e := &cluster.Endpoints[i]
		if !slices.Contains(e.Addresses, addr) {
			continue
		}
		if found == nil || model.CompareEndpointIDs(e.ID, found.ID) < 0 {
			found = e
		}
	}
	return found
}

// judge answers for one direction: the subject is the end that is protected in
// it, the peer is the other one.
func (q question) judge(direction model.Direction, subject, peer end) model.Judgement {
	if rule, ok := builtin(direction, subject.endpoint, peer.endpoint); ok {
		d := model.Decision{Verdict: model.Allow, By: model.Builtin(rule)}
		return model.Judgement{Enforced: d, Staged: d}
	}

	var enforced, staged []model.Policy
	for _, p := range q.cluster.Policies {
		if p.Expired || !q.protects(p.Subject, subject.endpoint) {
			continue // an expired policy is as good as absent
		}
		// Audit has no part in the enforced world, in none of the four ways; in the
		// staged one it counts like everything else.
		staged = append(staged, p)
		if p.Mode == model.Enforce {
			enforced = append(enforced, p)
		}
	}
	return model.Judgement{
		Enforced: q.decide(enforced, direction, subject, peer),
		Staged:   q.decide(staged, direction, subject, peer),
	}
}

// builtin names the implicit rule that allows a connection before any policy is
// asked, if there is one.
func builtin(direction model.Direction, subject, peer *model.Endpoint) (string, bool) {
	switch {
	case subject == nil || subject.ID.Kind == model.EndpointNode:
		return model.RuleNobody, true // policies protect pods and external workloads
	case peer != nil && peer.ID == subject.ID:
		return model.RuleSelf, true // a pod reaches itself
	case direction == model.Ingress && hosts(peer, subject):
		return model.RuleOwnNode, true // its own node reaches it
	default:
		return "", false
	}
}

// hosts reports whether node is the node that a pod runs on, or that a node's own
// processes run on.
func hosts(node, subject *model.Endpoint) bool {
	if node == nil || subject == nil || node.ID.Kind != model.EndpointNode {
		return false
	}
	return subject.ID == node.ID || subject.ID.Kind == model.EndpointPod && subject.Node == model.NodeName(node.ID.Name)
}

// decide goes through the tiers. All the policies select the subject.
func (q question) decide(policies []model.Policy, direction model.Direction, subject, peer end) model.Decision {
	// 1. Admin. Pass, and no match, go on to 2.
	if d, ok := q.orderedTier(policies, model.TierAdmin, direction, subject, peer); ok {
		return d
	}
	// 2. Namespace.
	if d, ok := q.namespaceTier(policies, direction, subject, peer); ok {
		return d
	}
	// 3. Baseline, like 1.
	if d, ok := q.orderedTier(policies, model.TierBaseline, direction, subject, peer); ok {
		return d
	}
	// 4. No tier had anything to say: the default, which allows.
	return model.Decision{Verdict: model.Allow, By: model.Builtin(model.RuleDefault)}
}

// match is a rule that matches, with its policy.
type match struct {
	policy model.Policy
	rule   model.Rule
}

func (m match) decision() model.Decision {
	verdict := model.Allow
	if m.rule.Action == model.ActionDeny {
		verdict = model.Deny
	}
	return model.Decision{
		Verdict: verdict,
		By:      model.RuleRef{Tier: m.policy.Tier, Policy: m.policy.Ref, Rule: m.rule.Name},
		Log:     m.rule.Log,
	}
}

// orderedTier judges the Admin or the Baseline tier. Each policy speaks by its
// first rule that matches, and the policy that goesBefore all others is heard. If
// what it says is Pass, the tier says nothing.
func (q question) orderedTier(policies []model.Policy, tier model.Tier, direction model.Direction, subject, peer end) (model.Decision, bool) {
	var best *match
	for _, p := range policies {
		if p.Tier != tier {
			continue
		}
		first, ok := q.firstMatch(p, direction, subject, peer)
		if ok && (best == nil || goesBefore(first, *best)) {
			best = &first
		}
	}
	if best == nil || best.rule.Action == model.ActionPass {
		return model.Decision{}, false
	}
	return best.decision(), true
}

// firstMatch is the rule by which a policy of an ordered tier speaks.
func (q question) firstMatch(p model.Policy, direction model.Direction, subject, peer end) (match, bool) {
	for _, r := range p.Rules(direction) {
		if q.matches(r, subject, peer) {
			return match{policy: p, rule: r}, true
		}
	}
	return match{}, false
}

// goesBefore reports whether a is judged before b in an ordered tier. ActionDeny
// is the smallest action and ActionPass the greatest.
func goesBefore(a, b match) bool {
	if a.policy.Priority != b.policy.Priority {
		return a.policy.Priority < b.policy.Priority
	}
	if a.rule.Action != b.rule.Action {
		return a.rule.Action < b.rule.Action
	}
	return model.ComparePolicyRefs(a.policy.Ref, b.policy.Ref) < 0
}

// namespaceTier judges the Namespace tier, where policies have no order: one Deny
// that matches outweighs every Accept, one Accept outweighs isolation, and where
// nobody isolates the subject in this direction the tier is silent. Where several
// could be named, the first policy is, and its first rule.
func (q question) namespaceTier(policies []model.Policy, direction model.Direction, subject, peer end) (model.Decision, bool) {
	var tier []model.Policy
	for _, p := range policies {
		if p.Tier == model.TierNamespace {
			tier = append(tier, p)
		}
	}
	slices.SortFunc(tier, func(a, b model.Policy) int { return model.ComparePolicyRefs(a.Ref, b.Ref) })

	for _, action := range []model.Action{model.ActionDeny, model.ActionAccept} {
		for _, p := range tier {
			for _, r := range p.Rules(direction) {
				if r.Action == action && q.matches(r, subject, peer) {
					return match{policy: p, rule: r}.decision(), true
				}
			}
		}
	}
	for _, p := range tier {
		if p.Isolates(direction) {
			return model.Decision{
				Verdict: model.Deny,
				By:      model.RuleRef{Tier: model.TierNamespace, Policy: p.Ref, Rule: model.RuleIsolated},
			}, true
		}
	}
	return model.Decision{}, false
}
