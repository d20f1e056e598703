package compile

import (
	"palisade.dev/palisade/policy/model"
)

// RuleOverCapacity is what the stand-in of a policy that does not fit names its
// rule.
const RuleOverCapacity = "(over-capacity)"

// putStandIn prepares what is compiled instead of a policy that was in force and
// does not fit any more: were nothing compiled, labels on a few pods would open
// what the policy closes. The stand-in tells no peers apart, so it always fits:
// wherever the policy has a say, it denies everything and logs that.
//
// A candidate has never been in force, so it has none.
func (c *Compiler) putStandIn(p *policy) {
	if p.order == Candidate {
		p.standIn = nil
		return
	}
	s := p.standIn
	switch {
	case s == nil:
		c.seq++
		s = &policy{ref: p.ref, seq: c.seq, stands: true}
		p.standIn = s
	case s.changed >= p.changed && s.refused.Limit == p.refused.Limit:
		return // made for this spec and this reason
	}
	s.spec = model.Policy{
		Ref: p.ref, Tier: p.spec.Tier, Priority: p.spec.Priority, Mode: p.spec.Mode,
		Severity: p.spec.Severity, Message: p.spec.Message, Tags: p.spec.Tags,
	}
	s.halves = [2]half{}
	old := s.infos
	s.infos = make(map[string]*ruleInfo)
	for d := range s.halves {
		if !p.halves[d].matters() {
			continue
		}
		s.halves[d].rules = []rule{{
			anyPeer: true, action: model.ActionDeny, log: true,
			ports: []model.PortMatch{{Proto: model.ProtoAny}},
			info:  c.ruleInfo(s, RuleOverCapacity, old[RuleOverCapacity]),
		}}
	}
	c.standInRuntime(s, p, old)
	s.changed, s.refused = c.commits, p.refused
}

// compiled is the policy, or what stands in for it; nil for nothing.
func (p *policy) compiled() *policy {
	if p.refused == nil {
		return p
	}
	return p.standIn
}
