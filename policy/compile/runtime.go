package compile

import (
	"cmp"
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// runtimePart is what a policy says about processes.
type runtimePart struct {
	containers []string // sorted; empty: all but the sandbox
	everywhere bool     // the sandbox too
	rules      []*runtimeRule
	listed     []string // the address groups that rules name, sorted
	groups     []*group // of peers that rules name, as often as they do
}

// matters reports whether the part can change a verdict.
func (p *runtimePart) matters() bool { return p != nil && len(p.rules) > 0 }

// about reports whether the policy is about a container of this name. General
// policies are about every name but the sandbox's.
func (p *runtimePart) about(container string) bool {
	if len(p.containers) == 0 {
		return p.everywhere || container != model.PauseContainer
	}
	_, found := slices.BinarySearch(p.containers, container)
	return found
}

// runtimeRule is a rule of a section, or a section's isolation.
type runtimeRule struct {
	policy    *policy
	section   model.Section
	name      string
	strength  int
	isolation bool
	audit     bool // it takes part in the staged world alone
	standIn   bool
	spec      *model.RuntimeRule // nil for isolations and stand-ins
	info      *ruleInfo
	row       shared

	// Of a rule whose peers are more than addresses.
	groups  []*group // sorted
	peersID snapshot.RulesetID
	peers   *ruleset // while somebody is judged by it
}

// isolationStrength is asked after every rule of its tier.
const isolationStrength = int(model.RuntimeAudit) + 1

// compareRuntime is the order of judgement: by tier; inside one exceptions, Kill,
// Deny, Accept and isolation; among equals by priority, policy and name.
func compareRuntime(a, b *runtimeRule) int {
	return cmp.Or(
		cmp.Compare(a.policy.spec.Tier, b.policy.spec.Tier),
		cmp.Compare(a.strength, b.strength),
		cmp.Compare(a.policy.priority(), b.policy.priority()),
		model.ComparePolicyRefs(a.policy.ref, b.policy.ref),
		cmp.Compare(a.section, b.section),
		cmp.Compare(a.name, b.name),
	)
}

// loadRuntime resolves the runtime part of a policy. Rules that the policy had
// before under the same name keep their place in memory.
func (c *Compiler) loadRuntime(p *policy, old map[string]*runtimeRule, infos map[string]*ruleInfo) {
	spec := p.spec.Runtime
	part := &runtimePart{containers: spec.Containers}
	p.runtime = part
	for s := range model.Section(model.Sections) {
		section := &spec.Sections[s]
		for i := range section.Rules {
			r := &section.Rules[i]
			info := c.ruleInfoOf(p, ruleName(s, r.Name), infos[ruleName(s, r.Name)],
				cmp.Or(r.Severity, p.spec.Severity), cmp.Or(r.Message, p.spec.Message), bothTags(p.spec.Tags, r.Tags))
			x := p.runtimeRule(s, r.Name, info, old)
			x.spec, x.strength = r, r.Action.Strength()
			x.audit = p.spec.Mode == model.Audit || r.Action == model.RuntimeAudit
			for j := range r.Peers {
				if r.Peers[j].Kind == model.PeerAddressGroup {
					part.listed = append(part.listed, r.Peers[j].Name)
				}
			}
			if needsIdentity(r.Peers) {
				c.loadPeers(part, x)
			}
		}
		if section.Isolates && p.spec.Tier != model.TierAdmin {
			info := c.ruleInfo(p, ruleName(s, model.RuleIsolated), infos[ruleName(s, model.RuleIsolated)])
			x := p.runtimeRule(s, model.RuleIsolated, info, old)
			x.isolation, x.strength, x.audit = true, isolationStrength, p.spec.Mode == model.Audit
		}
	}
	slices.Sort(part.listed)
	part.listed = slices.Compact(part.listed)
	for _, name := range part.listed {
		c.listedBy(name).add(p, 1)
	}
	for _, x := range part.rules {
		c.writeRuntimeRule(x)
	}
}

func ruleName(s model.Section, name string) string { return s.String() + "/" + name }

func bothTags(policy, rule []string) []string {
	if len(rule) == 0 {
		return policy
	}
	out := slices.Clone(policy)
	for _, tag := range rule {
		if !slices.Contains(out, tag) {
			out = append(out, tag)
		}
	}
	return out
}

// runtimeRules are the rules that a policy has, by section and name.
func (p *policy) runtimeRules() map[string]*runtimeRule {
	if p.runtime == nil {
		return nil
	}
	out := make(map[string]*runtimeRule, len(p.runtime.rules))
	for _, x := range p.runtime.rules {
		out[ruleName(x.section, x.name)] = x
	}
	return out
}

// runtimeRule adds a rule to a policy: the one that was there before under the
// same number, emptied, or a new one. Two in memory would be one row on a node.
func (p *policy) runtimeRule(s model.Section, name string, info *ruleInfo, old map[string]*runtimeRule) *runtimeRule {
	x := old[ruleName(s, name)]
	if x == nil || x.info != info {
		x = &runtimeRule{}
	}
	*x = runtimeRule{policy: p, section: s, name: name, info: info, row: x.row}
	p.runtime.rules = append(p.runtime.rules, x)
	return x
}

// unloadRuntime lets go of the peers that a policy named.
func (c *Compiler) unloadRuntime(p *policy, before *policy) {
	if before.runtime == nil {
		return
	}
	for _, g := range before.runtime.groups {
		c.releaseGroup(g)
	}
	for _, name := range before.runtime.listed {
		if by := c.listedBy(name); by.add(p, -1) == 0 && by.len() == 0 {
			delete(c.runtimeLists, name)
		}
	}
}

// listedBy counts the policies whose runtime rules name an address group.
func (c *Compiler) listedBy(name string) *bag[*policy] {
	b := c.runtimeLists[name]
	if b == nil {
		b = &bag[*policy]{}
		c.runtimeLists[name] = b
	}
	return b
}

// relist writes the rules anew that name address groups that changed.
func (c *Compiler) relist() {
	for name := range c.relisted {
		by := c.runtimeLists[name]
		if by == nil {
			continue
		}
		by.each(func(p *policy) {
			for _, x := range p.runtime.rules {
				c.writeRuntimeRule(x)
			}
		})
	}
	clear(c.relisted)
}

// writeRuntimeRule encodes a rule's row and notes whether nodes have another one.
func (c *Compiler) writeRuntimeRule(x *runtimeRule) {
	e := snapshot.Encode(c.runtimeRow(x))
	old := x.row.entry
	x.row.entry = e
	if old.Value != nil && string(old.Key) == string(e.Key) && string(old.Value) != string(e.Value) {
		c.rewritten = append(c.rewritten, x)
	}
}

// standInRuntime prepares the runtime part of a policy's stand-in: it denies all of
// every section in which the policy has a say.
func (c *Compiler) standInRuntime(s, p *policy, infos map[string]*ruleInfo) {
	old := s.runtimeRules()
	s.runtime = nil
	if p.runtime == nil {
		return
	}
	s.runtime = &runtimePart{containers: p.runtime.containers}
	if p.refused.Limit == LimitContainers {
		s.runtime.containers, s.runtime.everywhere = nil, true // names are what does not fit
	}
	for section := range model.Section(model.Sections) {
		if !slices.ContainsFunc(p.runtime.rules, func(x *runtimeRule) bool { return x.section == section }) {
			continue
		}
		name := ruleName(section, RuleOverCapacity)
		x := s.runtimeRule(section, RuleOverCapacity, c.ruleInfo(s, name, infos[name]), old)
		x.standIn, x.strength, x.audit = true, int(model.RuntimeDeny), s.spec.Mode == model.Audit
		c.writeRuntimeRule(x)
	}
}
