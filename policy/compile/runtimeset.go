package compile

import (
	"encoding/binary"
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// runtimeRuleset is what is judged for some containers of some kinds: the
// policies that are about them. Like a ruleset of the network its number says
// which policies, not what they say: an edited rule writes its own row.
type runtimeRuleset struct {
	key      string
	id       snapshot.RulesetID
	policies []*policy // by reference
	seats    int       // containers of kinds that have it

	// What nodes have, from update to update.
	rules []*runtimeRule // in the order of judgement
	entry snapshot.Entry
	nodes bag[*node]
	peers []peersUse // as counted

	weighed *runtimeWeight // as the policies are now; nil: not yet

	// Since the last commit.
	stale    bool // built anew, or one of its policies changed
	before   []*runtimeRule
	moved    bool // its rules are others, or in another order
	installs int  // nodes that will take it
}

// seatOf is a ruleset that a container of a kind has.
type runtimeSeat struct {
	container string // empty: every container that has no seat of its own but the sandbox
	ruleset   *runtimeRuleset
}

// assignRuntime gives the containers of a kind their rulesets.
func (c *Compiler) assignRuntime(k *kind, policies []*policy) {
	now := c.runtimeSeats(policies)
	if slices.Equal(now, k.runtime) {
		return
	}
	for _, s := range now {
		if s.ruleset.seats++; s.ruleset.seats == 1 {
			c.recounting = append(c.recounting, s.ruleset)
		}
	}
	for _, s := range k.runtime {
		if s.ruleset.seats--; s.ruleset.seats == 0 {
			c.idle.runtime = append(c.idle.runtime, s.ruleset)
			c.recounting = append(c.recounting, s.ruleset)
		}
	}
	k.runtime = now
	c.reseated = append(c.reseated, k)
	k.homes.each(func(n *node) { c.touchHosted(n, k) })
}

// runtimeSeats lists who has which ruleset under these policies, sorted by
// container: those that some policy names, and all others together.
func (c *Compiler) runtimeSeats(policies []*policy) []runtimeSeat {
	var names []string
	for _, p := range policies {
		if !p.runtime.matters() {
			continue
		}
		names = append(names, p.runtime.containers...)
		if len(p.runtime.containers) == 0 {
			names = append(names, "")
		}
		if p.runtime.everywhere {
			names = append(names, model.PauseContainer)
		}
	}
	slices.Sort(names)
	var out []runtimeSeat
	for _, name := range slices.Compact(names) {
		var about []*policy
		for _, p := range policies {
			if p.runtime.matters() && p.runtime.about(name) {
				about = append(about, p)
			}
		}
		out = append(out, runtimeSeat{name, c.runtimeRulesetOf(about)})
	}
	return out
}

// runtimeRulesetOf returns the ruleset of policies, sorted by reference.
func (c *Compiler) runtimeRulesetOf(policies []*policy) *runtimeRuleset {
	key, changed := c.scratch[:0], false
	for _, p := range policies {
		key = binary.BigEndian.AppendUint32(key, p.seq)
		changed = changed || p.changed == c.commits
	}
	c.scratch = key
	r := c.runtimeRulesets[string(key)]
	if r == nil {
		r = &runtimeRuleset{key: string(key), policies: policies, id: snapshot.NewRulesetID(appendPolicies([]byte{runtimeContent}, policies))}
		c.runtimeRulesets[r.key] = r
		changed = true
	}
	if changed && !r.stale {
		r.stale, r.weighed = true, nil
		c.changedRuntime = append(c.changedRuntime, r)
		c.recounting = append(c.recounting, r)
	}
	return r
}

// runtimeContent opens the content by which a runtime ruleset is numbered, where
// one of the network has its direction.
const runtimeContent = 2

// appendPolicies appends which policies a ruleset is made of.
func appendPolicies(b []byte, policies []*policy) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(policies)))
	for _, p := range policies {
		who := byte(p.ref.Kind)
		if p.stands {
			who |= 0x80 // a ruleset of its own
		}
		b = append(b, who)
		b = appendText(appendText(b, p.ref.Namespace), p.ref.Name)
	}
	return b
}

// inOrder lists the rules of all policies as they are judged.
func (r *runtimeRuleset) inOrder() []*runtimeRule {
	var all []*runtimeRule
	for _, p := range r.policies {
		all = append(all, p.runtime.rules...)
	}
	slices.SortFunc(all, compareRuntime)
	// Of what denies a whole section of a tier, the first of each world is enough:
	// so stand-ins never add up to more than fits.
	type whole struct {
		tier    model.Tier
		section model.Section
		standIn bool
	}
	staged, enforced := map[whole]bool{}, map[whole]bool{}
	return slices.DeleteFunc(all, func(x *runtimeRule) bool {
		if !x.isolation && !x.standIn {
			return false
		}
		w := whole{x.policy.spec.Tier, x.section, x.standIn}
		if enforced[w] || x.audit && staged[w] {
			return true
		}
		staged[w], enforced[w] = true, !x.audit
		return false
	})
}

// updateRuntime brings a ruleset's list of rules up to date.
func (c *Compiler) updateRuntime(r *runtimeRuleset) {
	rules := r.inOrder()
	if slices.Equal(rules, r.rules) {
		return
	}
	r.before, r.rules, r.moved = r.rules, rules, true
	row := snapshot.RuntimeRulesetRow{ID: r.id, Rules: make([]snapshot.RuleID, len(rules))}
	for i, x := range rules {
		row.Rules[i] = x.info.id
	}
	r.entry = snapshot.Encode(row)
	c.stats.RulesetsComputed++
}

func (r *runtimeRuleset) settle() {
	r.stale, r.moved, r.before, r.installs = false, false, nil, 0
}

func (c *Compiler) dropRuntimeRuleset(r *runtimeRuleset) {
	if r.seats == 0 && c.runtimeRulesets[r.key] == r {
		delete(c.runtimeRulesets, r.key)
	}
}
