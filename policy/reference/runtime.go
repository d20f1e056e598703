package reference

import (
	"slices"
	"strings"

	"palisade.dev/palisade/policy/model"
)

// JudgeRuntime answers an operation of a process: in a container of a pod, or of
// a node itself, whose container has no name.
func JudgeRuntime(cluster model.Cluster, who model.EndpointID, container string, op model.Operation) model.Judgement {
	q := runtimeQuestion{question: question{cluster: cluster}, op: op}
	for i := range cluster.Endpoints {
		if cluster.Endpoints[i].ID == who {
			q.subject = &cluster.Endpoints[i]
		}
	}
	var enforced, staged []model.Policy
	for _, p := range cluster.Policies {
		if p.Expired || p.Runtime == nil || !q.protects(p.Subject, q.subject) || !aboutContainer(p.Runtime.Containers, container) {
			continue
		}
		staged = append(staged, p)
		if p.Mode == model.Enforce {
			enforced = append(enforced, p)
		}
	}
	return model.Judgement{
		Enforced: q.decideRuntime(enforced, false),
		Staged:   q.decideRuntime(staged, true),
	}
}

// runtimeQuestion is an operation with whoever does it looked up.
type runtimeQuestion struct {
	question
	op      model.Operation
	subject *model.Endpoint // nil: nobody that is known
}

// aboutContainer reports whether a policy that names these containers is about
// one. A policy that names none is about all of them except the sandbox.
func aboutContainer(names []string, container string) bool {
	if len(names) == 0 {
		return container != model.PauseContainer
	}
	return slices.Contains(names, container)
}

// decideRuntime goes through the tiers in one world.
func (q runtimeQuestion) decideRuntime(policies []model.Policy, staged bool) model.Decision {
	for _, tier := range []model.Tier{model.TierAdmin, model.TierNamespace, model.TierBaseline} {
		if q.op.Unresolvable {
			break // there is nothing to hold against rules
		}
		if d, ok := q.runtimeTier(policies, tier, staged); ok {
			return d
		}
	}
	// Of what has no path in the container any rule that refuses may speak.
	if q.pathless() && q.anyRefuses(policies, staged) {
		return model.Decision{Verdict: model.Deny, By: model.Builtin(model.RuleUnresolvable)}
	}
	return model.Decision{Verdict: model.Allow, By: model.Builtin(model.RuleDefault)}
}

// pathless reports whether the object has no path in the container.
func (q runtimeQuestion) pathless() bool {
	return q.op.Unresolvable || q.op.Origin == model.OriginOutside && (q.op.Section == model.SectionExecutables || q.op.Section == model.SectionFiles)
}

// anyRefuses reports whether any rule or isolation of the section can refuse.
func (q runtimeQuestion) anyRefuses(policies []model.Policy, staged bool) bool {
	for _, p := range policies {
		s := p.Runtime.Sections[q.op.Section]
		if s.Isolates && p.Tier != model.TierAdmin {
			return true
		}
		for _, r := range s.Rules {
			if takesPart(r, staged) && refuses(r) && len(r.Arguments) == 0 {
				return true
			}
		}
	}
	return false
}

// takesPart reports whether a rule of a policy that takes part does so too: one
// with action Audit only where everything is staged.
func takesPart(r model.RuntimeRule, staged bool) bool {
	return staged || r.Action != model.RuntimeAudit
}

// refuses reports whether a rule is there to stop something.
func refuses(r model.RuntimeRule) bool {
	return r.Action == model.RuntimeKill || r.Action == model.RuntimeDeny || r.Action == model.RuntimeAudit
}

// runtimeTier judges one tier: exceptions, then Kill, then Deny, then Accept, then
// isolation. Where several rules could be named, the one of the policy with the
// lowest priority is, then of the first policy, then the first by name.
func (q runtimeQuestion) runtimeTier(policies []model.Policy, tier model.Tier, staged bool) (model.Decision, bool) {
	var in []model.Policy
	for _, p := range policies {
		if p.Tier == tier {
			in = append(in, p)
		}
	}
	slices.SortFunc(in, func(a, b model.Policy) int {
		if tier != model.TierNamespace && a.Priority != b.Priority {
			return int(a.Priority - b.Priority)
		}
		return model.ComparePolicyRefs(a.Ref, b.Ref)
	})
	for _, step := range []struct {
		verdict model.Verdict
		actions []model.RuntimeAction
	}{
		{model.Allow, []model.RuntimeAction{model.RuntimeExcept}},
		{model.Kill, []model.RuntimeAction{model.RuntimeKill}},
		{model.Deny, []model.RuntimeAction{model.RuntimeDeny, model.RuntimeAudit}},
		{model.Allow, []model.RuntimeAction{model.RuntimeAccept}},
	} {
		for _, p := range in {
			rules := slices.Clone(p.Runtime.Sections[q.op.Section].Rules)
			slices.SortFunc(rules, func(a, b model.RuntimeRule) int { return strings.Compare(a.Name, b.Name) })
			for _, r := range rules {
				if slices.Contains(step.actions, r.Action) && takesPart(r, staged) && q.matchesRule(r) {
					return model.Decision{Verdict: step.verdict, By: q.named(p, r.Name)}, true
				}
			}
		}
	}
	for _, p := range in {
		if p.Runtime.Sections[q.op.Section].Isolates && tier != model.TierAdmin && q.isolationCounts() {
			return model.Decision{Verdict: model.Deny, By: q.named(p, model.RuleIsolated)}, true
		}
	}
	return model.Decision{}, false
}

// isolationCounts: isolation leaves mappings of what the image holds alone.
func (q runtimeQuestion) isolationCounts() bool {
	return !q.op.Mapping || q.op.Origin != model.OriginImage
}

func (q runtimeQuestion) named(p model.Policy, rule string) model.RuleRef {
	return model.RuleRef{Tier: p.Tier, Policy: p.Ref, Rule: q.op.Section.String() + "/" + rule}
}
