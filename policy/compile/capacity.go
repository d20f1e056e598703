package compile

import (
	"cmp"
	"fmt"
	"slices"

	"palisade.dev/palisade/policy/model"
)

// Refusal says why a policy is not in force: it and those that were there before
// it do not fit together. Nothing of it is enforced, and nothing of the others
// is missing.
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
)

// Error is one line, so that a refusal can stand in a status.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %d %s are needed (%s), at most %d fit: name fewer combinations of peers, or merge rules",
		r.Policy, r.Needed, r.Limit, r.Where, r.Max)
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

// admitAll gives refused policies another chance once something changed that
// refusals depend on, so that who is refused depends on what there is and not on
// what there was.
func (c *Compiler) admitAll() {
	if !c.unsettled && !slices.ContainsFunc(c.dirtyNodes, func(n *node) bool { return n.weigh }) {
		return
	}
	for p := range c.refused {
		c.forgive(p)
		c.markSubjects(p.subject)
	}
}

func (c *Compiler) forgive(p *policy) {
	p.refused = nil
	delete(c.refused, p)
}

// refuseOne refuses the newest of the policies that take part in what does not
// fit, and reports false if everything fits.
func (c *Compiler) refuseOne() bool {
	var worst Refusal
	var newest *policy
	blame := func(r *ruleset) {
		for _, p := range r.policies {
			if p.refused == nil && len(p.halves[r.direction].groups) > 0 && (newest == nil || compareAge(newest, p) < 0) {
				newest = p
			}
		}
	}
	over := func(limit Limit, limitMax, needed int, where string) bool {
		if needed <= limitMax {
			return false
		}
		if worst.Limit == "" || needed > worst.Needed || needed == worst.Needed && where < worst.Where {
			worst = Refusal{Limit: limit, Max: limitMax, Needed: needed, Where: where}
		}
		return true
	}
	check := func(r *ruleset) {
		if r.kinds > 0 && over(LimitCellsPerRuleset, c.options.CellsPerRuleset, r.lens.size(), r.direction.String()) {
			blame(r)
		}
	}
	for _, r := range c.changedRulesets {
		check(r)
	}
	for _, l := range c.changedLenses {
		l.rulesets.each(check)
	}
	for _, n := range c.heavyNodes() {
		rulesets := n.coming()
		needed := 0
		for r := range rulesets {
			needed += r.lens.size()
		}
		if over(LimitCellsPerNode, c.options.CellsPerNode, needed, "node "+string(n.name)) {
			for r := range rulesets {
				blame(r)
			}
		}
	}
	if newest == nil {
		return false
	}
	worst.Policy = newest.ref
	newest.refused = &worst
	c.refused[newest] = struct{}{}
	c.markSubjects(newest.subject)
	return true
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
			for _, r := range k.rulesets {
				if r != nil {
					out[r] = struct{}{}
				}
			}
		}
	}
	return out
}
