package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"palisade.dev/palisade/policy/model"
)

// Refusal says why a policy is not in force: it and those that were there before
// it do not fit together. A Candidate leaves nothing behind, any other policy its
// stand-in. Nothing of the others is missing.
type Refusal struct {
	Policy model.PolicyRef
	Limit  Limit
	Max    int
	Needed int    // by the ruleset or node that goes furthest over
	Where  string // that ruleset's direction, or that node's name
}

// Limit names a bound of Options.
type Limit string

// The bounds.
const (
	LimitCellsPerRuleset Limit = "cells per ruleset"
	LimitCellsPerNode    Limit = "cells per node"
	LimitRulesPerNode    Limit = "rules per node"
)

// Error is one line, so that a refusal can stand in a status.
func (r *Refusal) Error() string {
	fix := "name fewer combinations of peers, or merge rules"
	if r.Limit.ofRuntime() || r.Limit == LimitRulesPerNode {
		fix = "narrow the subject, or merge rules"
	}
	return fmt.Sprintf("%s: %d %s are needed (%s), at most %d fit: %s", r.Policy, r.Needed, r.Limit, r.Where, r.Max, fix)
}

// Refusals lists the policies that do not fit, by reference.
func (c *Compiler) Refusals() []Refusal {
	var out []Refusal
	for p := range c.refused {
		out = append(out, *p.refused)
	}
	slices.SortFunc(out, func(a, b Refusal) int { return model.ComparePolicyRefs(a.Policy, b.Policy) })
	return out
}

// admit finds out which policies fit together. It starts from nobody refused, so
// that who is refused depends on what there is and not on what there was: the
// newest of those that take part in what does not fit goes, until everything
// fits; then those that went come back, the oldest first, where there is room
// for them after all.
func (c *Compiler) admit() {
	if !c.unsettled && !slices.ContainsFunc(c.dirtyNodes, func(n *node) bool { return n.weigh }) {
		return // nothing changed that a refusal depends on
	}
	for p := range c.refused {
		c.forgive(p)
	}
	c.assignAll()
	var last *policy
	for {
		newest, why := c.overflow()
		if newest == nil {
			break
		}
		c.refuse(newest, why)
		last = newest
	}
	again := slices.SortedFunc(maps.Keys(c.refused), compareAge)
	for _, p := range again {
		if p == last {
			continue // it was the one too many
		}
		c.forgive(p)
		c.assignAll()
		if newest, why := c.overflow(); newest != nil {
			c.refuse(p, why)
		}
	}
}

func (c *Compiler) refuse(p *policy, why Refusal) {
	why.Policy = p.ref
	p.refused = &why
	c.refused[p] = struct{}{}
	c.putStandIn(p)
	c.markSubjects(p)
	c.assignAll()
}

// forgive lets a policy take part again.
func (c *Compiler) forgive(p *policy) {
	if p.refused != nil {
		p.refused = nil
		delete(c.refused, p)
		c.markSubjects(p)
	}
}

// overflow returns the newest of the policies that take part in what does not
// fit, and what that is; nil if everything fits.
func (c *Compiler) overflow() (*policy, Refusal) {
	o := overflow{}
	check := func(r *ruleset) {
		if r.kinds > 0 && o.exceeds(LimitCellsPerRuleset, c.options.CellsPerRuleset, r.lens.size(), r.direction.String()) {
			o.blame(r)
		}
	}
	for _, r := range c.changedRulesets {
		check(r)
	}
	for _, l := range c.changedLenses {
		l.rulesets.each(check)
	}
	c.overflowRuntime(&o)
	for _, n := range c.heavyNodes() {
		rulesets := n.coming()
		needed := 0
		for r := range rulesets {
			needed += r.lens.size()
		}
		c.overflowRules(&o, n, rulesets)
		if o.exceeds(LimitCellsPerNode, c.options.CellsPerNode, needed, "node "+string(n.name)) {
			for r := range rulesets {
				o.blame(r)
			}
		}
		c.overflowRuntimeNode(&o, n)
	}
	return o.newest, o.worst
}

// overflow collects what does not fit and who takes part in it.
type overflow struct {
	worst  Refusal
	newest *policy
}

func (o *overflow) exceeds(limit Limit, most, needed int, where string) bool {
	if needed <= most {
		return false
	}
	x := Refusal{Limit: limit, Max: most, Needed: needed, Where: where}
	if o.worst.Limit == "" || x.goesBefore(o.worst) {
		o.worst = x
	}
	return true
}

func (r Refusal) goesBefore(s Refusal) bool {
	return cmp.Or(cmp.Compare(s.Needed, r.Needed), cmp.Compare(r.Limit, s.Limit), cmp.Compare(r.Where, s.Where)) < 0
}

// blame finds the newest policy that makes a ruleset tell anything apart.
func (o *overflow) blame(r *ruleset) {
	if r.ofPeers {
		r.users.each(func(p *policy) {
			o.take(p)
		})
		return
	}
	for _, p := range r.policies {
		h := &p.halves[r.direction]
		tells := len(h.groups) > 0 || r.direction == model.Egress && len(h.names) > 0
		if tells {
			o.take(p)
		}
	}
}

// compareAge orders policies from the oldest to the newest.
func compareAge(a, b *policy) int {
	return cmp.Or(cmp.Compare(a.order, b.order), model.ComparePolicyRefs(a.ref, b.ref))
}

// heavyNodes lists the nodes that may have more cells than at the last commit.
func (c *Compiler) heavyNodes() []*node {
	grown := func(r *ruleset) {
		r.nodes.each(func(n *node) {
			c.touchNode(n)
			n.weigh = true
		})
	}
	for _, l := range c.changedLenses {
		if len(l.added) > 0 {
			l.rulesets.each(grown)
		}
	}
	for _, r := range c.changedRulesets {
		if r.stale {
			grown(r)
		}
	}
	for _, r := range c.changedRuntime {
		r.nodes.each(func(n *node) {
			c.touchNode(n)
			n.weigh = true
		})
	}
	var out []*node
	for _, n := range c.dirtyNodes {
		if n.weigh {
			out = append(out, n)
		}
	}
	return out
}

// coming returns the rulesets that the node will have.
func (n *node) coming() map[*ruleset]struct{} {
	out := make(map[*ruleset]struct{})
	for i := range n.hosted.items {
		if k := n.hosted.items[i].key; n.hosted.items[i].val.count > 0 {
			for _, r := range n.protecting(k) {
				if r != nil {
					out[r] = struct{}{}
				}
			}
			for _, s := range k.runtime {
				for _, use := range s.ruleset.peers {
					out[use.ruleset] = struct{}{}
				}
			}
		}
	}
	return out
}
