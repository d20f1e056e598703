package compile

import (
	"cmp"
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// judge knows the order of judgement of one ruleset and answers, for one set of
// groups after the other, what a peer in exactly these groups meets.
type judge struct {
	rules   []judged // all rules of all tiers, in the order in which they are asked
	anyPeer []int32  // those about every peer, by place
	byGroup dict[*group, []int32]
	names   dict[*group, model.NamedPort] // egress: what the peer means by a name
	audits  bool                          // some policy is only observed
	std     *ruleInfo                     // the built-in default

	active []int32
	paint  painter
}

// judged is a rule in its place in the order of judgement.
type judged struct {
	*rule
	policy *policy
	level  int // policies that speak at once share one
	audit  bool
	ports  []model.PortMatch // numbers only; names of egress are left to each peer
	asks   []model.PortMatch // names of egress
}

func (c *Compiler) newJudge(r *ruleset) *judge {
	j := &judge{std: c.defaultRule}
	policies := slices.Clone(r.policies)
	slices.SortFunc(policies, compareJudging)
	level := 0
	for i, p := range policies {
		if i > 0 && (policies[i-1].spec.Tier != p.spec.Tier || policies[i-1].priority() != p.priority()) {
			level++
		}
		if p.spec.Tier != model.TierNamespace {
			for x := range p.halves[r.direction].rules {
				j.add(r, p, &p.halves[r.direction].rules[x], level)
			}
			continue
		}
		if i > 0 && policies[i-1].spec.Tier == model.TierNamespace {
			continue // the whole tier was added with its first policy
		}
		end := i
		for end < len(policies) && policies[end].spec.Tier == model.TierNamespace {
			end++
		}
		level = j.addNamespaceTier(r, policies[i:end], level)
	}
	for _, name := range r.lens.names {
		for _, x := range name.groups.items {
			j.names.put(x.key, x.val)
		}
	}
	return j
}

// addNamespaceTier adds the tier as one list: any Deny, then any Accept, then
// isolation. Each is a level of its own in which the first policy speaks.
func (j *judge) addNamespaceTier(r *ruleset, policies []*policy, level int) int {
	for _, action := range [...]model.Action{model.ActionDeny, model.ActionAccept} {
		for _, p := range policies {
			h := &p.halves[r.direction]
			for x := range h.rules {
				if h.rules[x].action == action {
					j.add(r, p, &h.rules[x], level)
				}
			}
		}
		level++
	}
	for _, p := range policies {
		h := &p.halves[r.direction]
		if !h.isolates {
			continue
		}
		j.add(r, p, &rule{
			anyPeer: true, action: model.ActionDeny, info: h.isolated,
			ports: []model.PortMatch{{Proto: model.ProtoAny}},
		}, level)
		if p.spec.Mode == model.Enforce {
			break // in both worlds nobody after it is asked
		}
	}
	return level
}

func (j *judge) add(r *ruleset, p *policy, of *rule, level int) {
	x := judged{rule: of, policy: p, level: level, audit: p.spec.Mode == model.Audit, ports: of.ports}
	if slices.ContainsFunc(of.ports, func(m model.PortMatch) bool { return m.Name != "" }) {
		x.resolve(r)
	}
	if len(x.ports) == 0 && len(x.asks) == 0 {
		return
	}
	at := int32(len(j.rules))
	j.rules = append(j.rules, x)
	j.audits = j.audits || x.audit
	if of.anyPeer {
		j.anyPeer = append(j.anyPeer, at)
		return
	}
	for _, g := range of.peers {
		list := j.byGroup.ref(g)
		*list = append(*list, at)
	}
}

// resolve replaces names by what the subject means by them; in egress they are
// the peer's.
func (x *judged) resolve(r *ruleset) {
	all := x.ports
	x.ports = nil
	for _, m := range all {
		switch {
		case m.Name == "":
			x.ports = append(x.ports, m)
		case r.direction == model.Egress:
			x.asks = append(x.asks, m)
		default:
			for _, p := range r.ports {
				if means(m, p) {
					x.ports = append(x.ports, model.PortMatch{Proto: p.Proto, Lo: p.Port, Hi: p.Port})
				}
			}
		}
	}
}

func means(m model.PortMatch, p model.NamedPort) bool {
	return m.Name == p.Name && (m.Proto == model.ProtoAny || m.Proto == p.Proto)
}

// program answers for the peers that are in exactly these groups, and lists the
// rules that it names.
func (j *judge) program(groups []*group) (snapshot.ProgramRow, []*ruleInfo) {
	j.active = append(j.active[:0], j.anyPeer...)
	var named []model.NamedPort
	for _, g := range groups {
		j.active = append(j.active, j.byGroup.get(g)...)
		if i := j.names.find(g); i >= 0 {
			named = append(named, j.names.items[i].val)
		}
	}
	slices.Sort(j.active)
	j.active = slices.Compact(j.active)

	p := &j.paint
	p.reset()
	for _, i := range j.active {
		if !p.offer(&j.rules[i], named) {
			break
		}
	}
	p.prepare()
	enforced := p.decide(false)
	staged := enforced
	if j.audits {
		staged = p.decide(true)
	}
	return j.row(enforced, staged)
}

// row puts the answers of all places into the one form that a program has.
func (j *judge) row(enforced, staged []*judged) (snapshot.ProgramRow, []*ruleInfo) {
	p := &j.paint
	row := snapshot.ProgramRow{Default: j.answer(enforced[0], staged[0])}
	for _, t := range p.tracks {
		for i, lo := range t.cuts {
			at := t.first + i
			hi := 0xffff
			if i+1 < len(t.cuts) {
				hi = int(t.cuts[i+1]) - 1
			}
			a := j.answer(enforced[at], staged[at])
			if a == row.Default {
				continue
			}
			if n := len(row.Segments); n > 0 {
				last := &row.Segments[n-1]
				if last.Proto == uint8(t.proto) && int(last.Hi)+1 == int(lo) && last.Answer == a {
					last.Hi = uint16(hi)
					continue
				}
			}
			row.Segments = append(row.Segments, snapshot.Segment{Proto: uint8(t.proto), Lo: uint16(lo), Hi: uint16(hi), Answer: a})
		}
	}
	return row, j.named(enforced, staged)
}

// named lists the rules that a program names, the default included where nobody
// decides.
func (j *judge) named(worlds ...[]*judged) []*ruleInfo {
	var out []*ruleInfo
	for _, world := range worlds {
		for _, x := range world {
			info := j.std
			if x != nil {
				info = x.info
			}
			if len(out) == 0 || out[len(out)-1] != info {
				out = append(out, info)
			}
		}
	}
	slices.SortFunc(out, func(a, b *ruleInfo) int { return slices.Compare(a.id[:], b.id[:]) })
	return slices.Compact(out)
}

// answer words a decision; nil is nobody's.
func (j *judge) answer(enforced, staged *judged) snapshot.Answer {
	var a snapshot.Answer
	a.Rule, a.Deny, a.Log = j.decision(enforced)
	a.StagedRule, a.StagedDeny, a.StagedLog = j.decision(staged)
	return a
}

func (j *judge) decision(x *judged) (snapshot.RuleID, bool, bool) {
	if x == nil {
		return j.std.id, false, false
	}
	return x.info.id, x.action == model.ActionDeny, x.log
}

// goesBefore reports whether a rule speaks before another of its level.
func (x *judged) goesBefore(y *judged) bool {
	return cmp.Or(cmp.Compare(x.action, y.action), model.ComparePolicyRefs(x.policy.ref, y.policy.ref)) < 0
}
