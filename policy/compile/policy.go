package compile

import (
	"reflect"
	"slices"

	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/policy/index"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// policy is a policy with its references resolved.
type policy struct {
	ref     model.PolicyRef
	seq     uint32
	spec    model.Policy
	order   Order
	needs   *identity.Needs // nil: expired, so as good as absent
	refused *Refusal
	standIn *policy // of the last time that it was refused
	stands  bool    // it is a stand-in itself

	subject *selector
	hosts   *selector // the same of pods with host networking; nil without a runtime part about pods
	halves  [2]half
	runtime *runtimePart // nil: none
	infos   map[string]*ruleInfo
	changed uint64 // the commit that loaded it
}

// half is one direction of a policy.
type half struct {
	rules    []rule
	isolates bool
	isolated *ruleInfo
	groups   []*group // of all rules, sorted
	names    []string // of the ports that rules name, sorted
}

// matters reports whether the half can change a verdict.
func (h *half) matters() bool { return len(h.rules) > 0 || h.isolates }

type rule struct {
	anyPeer bool
	peers   []*group
	ports   []model.PortMatch
	action  model.Action
	log     bool
	info    *ruleInfo
}

// ruleInfo is a rule as events and counters name it.
type ruleInfo struct {
	id  snapshot.RuleID
	row shared
}

func newRuleInfo(ref model.RuleRef, severity, message string, tags []string) *ruleInfo {
	b := []byte{byte(ref.Tier), byte(ref.Policy.Kind)}
	b = append(append(b, ref.Policy.Namespace...), 0)
	b = append(append(b, ref.Policy.Name...), 0)
	b = append(b, ref.Rule...)
	row := snapshot.RuleRow{
		ID: snapshot.NewRuleID(b), Tier: uint8(ref.Tier), PolicyKind: uint8(ref.Policy.Kind),
		Namespace: ref.Policy.Namespace, Policy: ref.Policy.Name, Rule: ref.Rule,
		Severity: severity, Message: message, Tags: tags,
	}
	return &ruleInfo{id: row.ID, row: shared{entry: snapshot.Encode(row)}}
}

// needsOf says what a policy reads.
func needsOf(spec *model.Policy) *identity.Needs {
	n := &identity.Needs{}
	read := func(kind model.EndpointKind, ns model.NamespaceMatch, labels model.Selector) {
		for _, r := range labels.Requirements {
			n.Labels[kind] = append(n.Labels[kind], r.Key)
		}
		if ns.Name == "" && kind != model.EndpointNode {
			for _, r := range ns.Labels.Requirements {
				n.NamespaceLabels = append(n.NamespaceLabels, r.Key)
			}
		}
	}
	read(spec.Subject.Kind, spec.Subject.Namespaces, spec.Subject.Labels)
	if aboutHostPods(spec) {
		read(model.EndpointHostPod, spec.Subject.Namespaces, spec.Subject.Labels)
	}
	readPeer := func(p *model.Peer) {
		switch {
		case p.Kind == model.PeerEndpoints:
			read(p.Endpoint, p.Namespaces, p.Labels)
		case p.Kind == model.PeerEntity && p.Entity == model.EntityHost:
			n.Host = true
		}
	}
	if spec.Runtime != nil {
		rules := spec.Runtime.Sections[model.SectionNetwork].Rules
		for i := range rules {
			for j := range rules[i].Peers {
				readPeer(&rules[i].Peers[j])
			}
		}
	}
	for _, d := range [...]model.Direction{model.Ingress, model.Egress} {
		rules := spec.Rules(d)
		for i := range rules {
			for j := range rules[i].Peers {
				readPeer(&rules[i].Peers[j])
			}
			for _, m := range rules[i].Ports {
				if m.Name != "" {
					n.Ports = append(n.Ports, m.Name)
				}
			}
		}
	}
	return n
}

// pending is what was asked for a policy since the last commit.
type pendingPolicy struct {
	spec  *model.Policy // nil: delete
	order Order
}

// readPolicies says what policies read, before kinds are settled. Whatever a
// policy that stays goes on reading is never let go of in between.
func (c *Compiler) readPolicies() {
	for ref, next := range c.pending {
		old := c.policies[ref]
		if old != nil && next.spec != nil && reflect.DeepEqual(old.spec, *next.spec) {
			if old.order != next.order {
				old.order = next.order
				c.unsettled = true
			}
			delete(c.pending, ref)
			continue
		}
		c.unsettled = true
		if next.spec != nil && !next.spec.Expired {
			needs := needsOf(next.spec)
			c.ids.Use(needs)
			c.reading[ref] = needs
		}
	}
	for ref := range c.pending {
		if old := c.policies[ref]; old != nil && old.needs != nil {
			c.ids.Release(old.needs)
		}
	}
}

// loadPolicies puts what is pending in force, once the kinds are settled.
func (c *Compiler) loadPolicies() {
	for ref, next := range c.pending {
		p := c.policies[ref]
		if p == nil {
			if next.spec == nil {
				continue
			}
			c.seq++
			p = &policy{ref: ref, seq: c.seq}
			c.policies[ref] = p
		}
		c.forgive(p)
		before := *p
		p.needs = c.reading[ref]
		p.subject, p.hosts, p.halves, p.runtime = nil, nil, [2]half{}, nil
		if next.spec != nil {
			p.spec, p.order = *next.spec, next.order
		} else {
			delete(c.policies, ref)
		}
		if p.needs != nil {
			c.load(p, before.runtimeRules())
		}
		c.unload(p, &before)
		p.changed = c.commits
		c.stats.PoliciesLoaded++
	}
	clear(c.pending)
	clear(c.reading)
}

func (c *Compiler) load(p *policy, runtime map[string]*runtimeRule) {
	spec := &p.spec
	p.subject = c.selectorOf(index.Query{
		Kind: spec.Subject.Kind, Namespaces: spec.Subject.Namespaces, Labels: spec.Subject.Labels,
	})
	p.subject.subjects.add(p, 1)
	if aboutHostPods(spec) {
		p.hosts = c.selectorOf(index.Query{
			Kind: model.EndpointHostPod, Namespaces: spec.Subject.Namespaces, Labels: spec.Subject.Labels,
		})
		p.hosts.subjects.add(p, 1)
	}
	infos := p.infos
	p.infos = make(map[string]*ruleInfo)
	info := func(name string) *ruleInfo {
		return c.ruleInfo(p, name, infos[name])
	}
	for d := range p.halves {
		h := &p.halves[d]
		rules := spec.Rules(model.Direction(d))
		h.rules = make([]rule, len(rules))
		for i := range rules {
			h.rules[i] = c.rule(&rules[i], h)
			h.rules[i].info = info(rules[i].Name)
		}
		h.groups = sortGroups(h.groups)
		slices.Sort(h.names)
		h.names = slices.Compact(h.names)
		if h.isolates = spec.Tier == model.TierNamespace && spec.Isolates(model.Direction(d)); h.isolates {
			h.isolated = info(model.RuleIsolated)
		}
	}
	if spec.Runtime != nil {
		c.loadRuntime(p, runtime, infos)
	}
	c.markSubjects(p)
}

// aboutHostPods reports whether a policy is about pods with host networking too:
// its runtime part is, if it is about pods.
func aboutHostPods(spec *model.Policy) bool {
	return spec.Runtime != nil && spec.Subject.Kind == model.EndpointPod
}

func (c *Compiler) rule(r *model.Rule, h *half) rule {
	out := rule{ports: r.Ports, action: r.Action, log: r.Log}
	for i := range r.Peers {
		if r.Peers[i].Kind == model.PeerAny {
			out.anyPeer = true
			continue
		}
		g := c.groupOf(&r.Peers[i])
		out.peers = append(out.peers, g)
		h.groups = append(h.groups, g)
	}
	out.peers = sortGroups(out.peers)
	for _, g := range out.peers {
		g.uses++
	}
	for _, m := range r.Ports {
		if m.Name != "" {
			h.names = append(h.names, m.Name)
		}
	}
	return out
}

// ruleInfo keeps the one that the rule had, so that what names it by its place
// in memory goes on doing so.
func (c *Compiler) ruleInfo(p *policy, name string, old *ruleInfo) *ruleInfo {
	return c.ruleInfoOf(p, name, old, p.spec.Severity, p.spec.Message, p.spec.Tags)
}

// ruleInfoOf is ruleInfo of a rule that tells events something of its own.
func (c *Compiler) ruleInfoOf(p *policy, name string, old *ruleInfo, severity, message string, tags []string) *ruleInfo {
	if known := p.infos[name]; known != nil {
		return known // ingress and egress may share names
	}
	now := newRuleInfo(model.RuleRef{Tier: p.spec.Tier, Policy: p.ref, Rule: name}, severity, message, tags)
	if old != nil && old.id == now.id {
		if string(old.row.entry.Value) != string(now.row.entry.Value) {
			old.row.entry = now.row.entry
			c.renamed = append(c.renamed, old)
		}
		now = old
	}
	p.infos[name] = now
	return now
}

// unload lets go of what a policy referred to before it changed.
func (c *Compiler) unload(p *policy, before *policy) {
	if before.subject == nil {
		return
	}
	c.markSubjects(before)
	for _, s := range [...]*selector{before.subject, before.hosts} {
		if s != nil && s.subjects.add(p, -1) == 0 && s.subjects.len() == 0 {
			c.idle.selectors = append(c.idle.selectors, s)
		}
	}
	c.unloadRuntime(p, before)
	for d := range before.halves {
		for i := range before.halves[d].rules {
			for _, g := range before.halves[d].rules[i].peers {
				c.releaseGroup(g)
			}
		}
	}
}

// markSubjects marks the kinds whose rulesets a policy is part of.
func (c *Compiler) markSubjects(p *policy) {
	p.eachSubject(c.markKind)
}

// eachSubject visits the kinds that a policy that is loaded selects.
func (p *policy) eachSubject(visit func(*kind)) {
	for _, s := range [...]*selector{p.subject, p.hosts} {
		if s != nil {
			s.hits.Each(visit)
		}
	}
}
