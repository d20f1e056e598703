package compile

// standInsPerNode is how many rules of stand-ins, and built-in ones, a node has room for
// beside those that count: a stand-in always fits. Of many for the same pods the first
// decides and is the only one that the node is sent.
const standInsPerNode = 2752

// overflowRules adds a node whose policies have more rules together than its agent can
// count. Every rule of the network counts whose policy has a say on the node, also one that
// others leave nothing to decide.
func (c *Compiler) overflowRules(o *overflow, n *node, rulesets map[*ruleset]struct{}) {
	most := c.options.RulesPerNode
	runtime := n.comingRuntime()
	atMost := 0
	for r := range rulesets {
		atMost += r.countRules()
	}
	for r := range runtime {
		atMost += c.weigh(r).rules
	}
	if atMost <= most {
		return // although what several rulesets have in common was counted more than once
	}
	needed := 0
	var newest *policy
	seen := make(map[*policy]struct{})
	add := func(policies []*policy) {
		for _, p := range policies {
			if _, known := seen[p]; known || p.stands {
				continue
			}
			seen[p] = struct{}{}
			needed += len(p.infos)
			if len(p.infos) > 0 && (newest == nil || compareAge(newest, p) < 0) {
				newest = p
			}
		}
	}
	for r := range rulesets {
		add(r.policies)
	}
	for r := range runtime {
		add(r.policies)
	}
	needed = min(needed, atMost)
	if newest != nil && o.exceeds(LimitRulesPerNode, most, needed, "node "+string(n.name)) {
		o.take(newest)
	}
}

// countRules is how many rules the policies of a ruleset have. Who the peers of a
// runtime rule are is answered without a rule of its own.
func (r *ruleset) countRules() int {
	if r.named >= 0 {
		return r.named
	}
	r.named = 0
	for _, p := range r.policies {
		if !p.stands {
			r.named += len(p.infos)
		}
	}
	return r.named
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
