package compile

import "palisade.dev/palisade/policy/model"

// standInsPerNode is how many rules of stand-ins, and built-in ones, a node has room for
// beside those that count: a stand-in always fits. Of many for the same pods the first
// decides and is the only one that the node is sent.
const standInsPerNode = 2752

// overflowRules adds a node whose policies have more rules together than its agent can
// count. Which rules of the network are left something to decide is known only when cells
// are painted; what counts is how many there can be at most.
func (c *Compiler) overflowRules(o *overflow, n *node, rulesets map[*ruleset]struct{}) {
	most, runtime := c.options.RulesPerNode, n.comingRuntime()
	// What several rulesets have in common counts more than once here.
	network, processes := 0, 0
	for r := range rulesets {
		network += r.count().named
	}
	for r := range runtime {
		processes += c.weigh(r).rules
	}
	if network+processes <= most {
		return // as nearly always
	}
	var policies ruleCount
	network = 0
	for r := range rulesets {
		network += r.deciding()
		policies.add(r.policies, (*policy).networkRules)
	}
	network, policies.n = min(network, policies.n), 0
	clear(policies.seen)
	for r := range runtime {
		policies.add(r.policies, func(p *policy) int { return len(p.runtime.rules) })
	}
	processes = min(processes, policies.n)
	if policies.newest != nil && o.exceeds(LimitRulesPerNode, most, network+processes, "node "+string(n.name)) {
		o.take(policies.newest)
	}
}

// ruleCount counts the rules of policies, each policy once.
type ruleCount struct {
	n      int
	newest *policy // that has any
	seen   map[*policy]struct{}
}

func (x *ruleCount) add(policies []*policy, rules func(*policy) int) {
	if x.seen == nil {
		x.seen = make(map[*policy]struct{})
	}
	for _, p := range policies {
		if _, known := x.seen[p]; known || p.stands {
			continue
		}
		x.seen[p] = struct{}{}
		if n := rules(p); n > 0 {
			x.n += n
			x.take(p)
		}
	}
}

func (x *ruleCount) take(p *policy) {
	if x.newest == nil || compareAge(x.newest, p) < 0 {
		x.newest = p
	}
}

// networkRules is how many rules a policy has about packets, isolations included.
func (p *policy) networkRules() int {
	if p.runtime == nil {
		return len(p.infos)
	}
	return len(p.infos) - len(p.runtime.rules)
}

// count counts the rules of a ruleset's policies. Who the peers of a runtime rule are is
// answered without a rule of its own.
func (r *ruleset) count() *ruleset {
	if r.counted {
		return r
	}
	r.counted, r.named, r.ranges = true, 0, 1
	for _, p := range r.policies {
		if p.stands || r.ofPeers {
			continue
		}
		r.named += p.networkRules()
		for i := range p.halves[r.direction].rules {
			r.ranges += rangesOf(p.halves[r.direction].rules[i].ports)
		}
	}
	return r
}

// deciding is how many rules can decide in a ruleset, at most: all of its policies', or
// for each cell and range of ports one that is enforced and one that is staged.
func (r *ruleset) deciding() int {
	r.count()
	return min(r.named, 2*r.ranges*r.lens.size())
}

// rangesOf is how many more ranges of ports there are, at most, because of some matches:
// a protocol of its own, cut twice. A name may be any number of ports.
func rangesOf(ports []model.PortMatch) int {
	n := 0
	for _, m := range ports {
		switch {
		case m.Name != "":
			return 1 << 20
		case m.Proto != model.ProtoAny:
			n += 3
		}
	}
	return n
}

// comingRuntime returns the runtime rulesets that the node will have.
func (n *node) comingRuntime() map[*runtimeRuleset]struct{} {
	out := make(map[*runtimeRuleset]struct{})
	for i := range n.hosted.items {
		if n.hosted.items[i].val.count == 0 {
			continue
		}
		for _, s := range n.hosted.items[i].key.runtime {
			out[s.ruleset] = struct{}{}
		}
	}
	return out
}
