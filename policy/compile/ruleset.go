package compile

import (
	"cmp"
	"encoding/binary"
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// ruleset is what is judged for one or more kinds in one direction: the policies
// that select them. Its number says which policies, not what they say: an edited
// rule writes cells, not rulesets.
type ruleset struct {
	key       string
	id        snapshot.RulesetID
	direction model.Direction
	policies  []*policy         // by reference; only those that matter in this direction
	ports     []model.NamedPort // ingress: what the subject means by the names that rules use
	lens      *lens
	kinds     int          // how many it protects
	ofPeers   bool         // it says who a runtime rule's peers are; kinds counts its uses
	users     bag[*policy] // whose rules these are

	// What nodes have, from update to update.
	entry  snapshot.Entry
	groups []*group
	cells  dict[snapshot.SetID, *program]
	nodes  bag[*node]

	// How many rules its policies but stand-ins have, and in how many ranges these can
	// divide ports, once they are counted.
	counted       bool
	named, ranges int

	// Since the last commit.
	stale    bool // built anew, or never computed
	listed   bool // in c.changedRulesets
	changes  []cellChange
	installs int             // nodes that will take it
	block    *snapshot.Block // its own row and its cells, if these are many
	before   []*group        // groups before the commit, if regrouped
	moved    bool            // regrouped
}

// cellChange is a cell that changed: a nil program is no cell.
type cellChange struct {
	set      snapshot.SetID
	old, new *program
}

// assign gives a kind its rulesets, of the network and of its containers.
func (c *Compiler) assign(k *kind) {
	var now [2]*ruleset
	var policies []*policy
	if !k.gone {
		policies = c.policiesOf(k)
	}
	c.assignRuntime(k, policies)
	if !k.gone && k.protectable() {
		for _, d := range [...]model.Direction{model.Ingress, model.Egress} {
			now[d] = c.rulesetOf(k, d, policies)
		}
	}
	for d, r := range now {
		old := k.rulesets[d]
		if r == old {
			continue
		}
		if r != nil {
			if r.kinds++; r.kinds == 1 && r.stale {
				c.unfocused = append(c.unfocused, r)
			}
		}
		if old != nil {
			if old.kinds--; old.kinds == 0 {
				c.idle.rulesets = append(c.idle.rulesets, old)
			}
		}
		k.rulesets[d] = r
		k.homes.each(func(n *node) { c.touchHosted(n, k) })
	}
}

// policiesOf lists the policies in force that select a kind, or their stand-ins,
// by reference.
func (c *Compiler) policiesOf(k *kind) []*policy {
	var out []*policy
	k.target.Each(func(s *selector) {
		s.subjects.each(func(p *policy) {
			if p = p.compiled(); p != nil {
				out = append(out, p)
			}
		})
	})
	slices.SortFunc(out, func(a, b *policy) int { return model.ComparePolicyRefs(a.ref, b.ref) })
	return out
}

func (c *Compiler) rulesetOf(k *kind, d model.Direction, policies []*policy) *ruleset {
	key := append(c.scratch[:0], byte(d))
	n, asks, changed := uint32(0), false, false
	for _, p := range policies {
		if h := &p.halves[d]; h.matters() {
			key = binary.BigEndian.AppendUint32(key, p.seq)
			asks = asks || len(h.names) > 0
			changed = changed || p.changed == c.commits
			n++
		}
	}
	var ports []model.NamedPort
	if asks && d == model.Ingress {
		ports = portsAsked(k.of.Ports, policies)
		for _, p := range ports {
			key = appendPort(key, p)
		}
	}
	key = binary.BigEndian.AppendUint32(key, n) // says where the policies end
	c.scratch = key
	if r := c.rulesets[string(key)]; r != nil {
		// Every kind that a changed policy selects, or did, comes by here.
		if changed {
			c.rebuild(r)
		}
		return r
	}
	r := &ruleset{key: string(key), direction: d, ports: ports}
	for _, p := range policies {
		if p.halves[d].matters() {
			r.policies = append(r.policies, p)
		}
	}
	content := appendPolicies([]byte{byte(d)}, r.policies)
	for _, p := range ports {
		content = appendPort(content, p)
	}
	r.id = snapshot.NewRulesetID(content)
	c.rulesets[r.key] = r
	c.rebuild(r)
	return r
}

// portsAsked returns those of a kind's named ports that ingress rules name.
func portsAsked(ports []model.NamedPort, policies []*policy) []model.NamedPort {
	var out []model.NamedPort
	for _, port := range ports { // sorted
		if slices.ContainsFunc(policies, func(p *policy) bool {
			_, found := slices.BinarySearch(p.halves[model.Ingress].names, port.Name)
			return found
		}) {
			out = append(out, port)
		}
	}
	return out
}

// rebuild marks a ruleset whose policies are new or say something new.
func (c *Compiler) rebuild(r *ruleset) {
	r.counted = false
	if r.stale {
		return
	}
	r.stale = true
	c.unfocused = append(c.unfocused, r)
	c.changeRuleset(r)
}

func (c *Compiler) changeRuleset(r *ruleset) {
	if !r.listed {
		r.listed = true
		c.changedRulesets = append(c.changedRulesets, r)
	}
}

// focus gives a stale ruleset the lens that its policies ask for now.
func (c *Compiler) focus(r *ruleset) {
	var groups []*group
	var names []string
	for _, p := range r.policies {
		h := &p.halves[r.direction]
		groups = append(groups, h.groups...)
		if r.direction == model.Egress {
			names = append(names, h.names...)
		}
	}
	slices.Sort(names)
	l := c.lensOf(sortGroups(groups), slices.Compact(names))
	if l == r.lens {
		return
	}
	l.rulesets.add(r, 1)
	if r.lens != nil {
		c.blur(r)
	}
	r.lens = l
}

// blur takes a ruleset's lens away.
func (c *Compiler) blur(r *ruleset) {
	if r.lens.rulesets.add(r, -1); r.lens.rulesets.len() == 0 {
		c.idle.lenses = append(c.idle.lenses, r.lens)
	}
}

// update computes what changed in a ruleset's cells.
func (c *Compiler) update(r *ruleset) {
	if r.stale || r.lens.regroup {
		r.before, r.moved = r.groups, true
		r.groups = r.lens.groups
		r.entry = snapshot.Encode(snapshot.RulesetRow{
			ID: r.id, Egress: r.direction == model.Egress, Groups: groupIDs(r.groups),
		})
	}
	if !r.stale && len(r.lens.added) == 0 {
		for _, id := range r.lens.removed {
			c.setCell(r, id, nil)
		}
		return
	}
	j := c.newJudge(r)
	if !r.stale {
		for _, id := range r.lens.removed {
			c.setCell(r, id, nil)
		}
		for _, s := range r.lens.added {
			c.setCell(r, s.id, c.programOf(j, s))
		}
		return
	}
	c.stats.RulesetsComputed++
	old := r.cells
	r.cells = dict[snapshot.SetID, *program]{}
	r.lens.each(func(s set) {
		was := old.get(s.id)
		now := c.programOf(j, s)
		r.cells.put(s.id, now)
		now.cells++
		if now != was {
			r.changes = append(r.changes, cellChange{s.id, was, now})
		}
	})
	for i := range old.items {
		id, was := old.items[i].key, old.items[i].val
		c.releaseProgram(was)
		if !r.cells.has(id) {
			r.changes = append(r.changes, cellChange{id, was, nil})
		}
	}
}

func (c *Compiler) setCell(r *ruleset, id snapshot.SetID, now *program) {
	was := r.cells.get(id)
	if was == now {
		return
	}
	if was != nil {
		c.releaseProgram(was)
	}
	if now != nil {
		now.cells++
		r.cells.put(id, now)
	} else {
		r.cells.delete(id)
	}
	r.changes = append(r.changes, cellChange{id, was, now})
}

// settle ends the commit for the ruleset.
func (r *ruleset) settle() {
	r.stale, r.listed, r.moved = false, false, false
	r.changes, r.before = nil, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func appendPort(b []byte, p model.NamedPort) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(p.Proto))
	b = binary.BigEndian.AppendUint16(b, uint16(p.Port))
	return appendText(b, p.Name)
}

// compareJudging orders policies as they are asked: by tier, by priority where
// the tier has one, by reference.
func compareJudging(a, b *policy) int {
	return cmp.Or(cmp.Compare(a.spec.Tier, b.spec.Tier), cmp.Compare(a.priority(), b.priority()),
		model.ComparePolicyRefs(a.ref, b.ref))
}

func (p *policy) priority() int32 {
	if p.spec.Tier == model.TierNamespace {
		return 0
	}
	return p.spec.Priority
}
