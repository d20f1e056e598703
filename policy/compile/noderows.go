package compile

import (
	"slices"

	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/snapshot"
)

// uninstall takes away a ruleset as the node has it.
func (n *node) uninstall(r *ruleset) {
	n.later.rulesets = append(n.later.rulesets, later[*ruleset]{r, -1})
	n.rows.delete(snapshot.KeyOf(snapshot.RulesetRow{ID: r.id}))
	for i := range r.cells.items {
		n.writeCell(r, cellChange{set: r.cells.items[i].key, old: r.cells.items[i].val})
	}
	for _, g := range r.groups {
		n.useGroup(g, -1)
	}
}

// install adds the rulesets that the node's kinds and runtime rules have newly,
// and takes away those that only runtime rules had, as they are now: the others
// went before anything was computed.
func (n *node) install() {
	for r := range n.turned {
		switch has, wants := r.nodes.has(n), n.rulesets.has(r); {
		case has && !wants:
			n.uninstall(r)
			continue
		case has || !wants:
			continue
		}
		n.later.rulesets = append(n.later.rulesets, later[*ruleset]{r, +1})
		if r.block != nil {
			n.rows.putBlock(r.block)
		} else {
			n.rows.put(r.entry)
		}
		for i := range r.cells.items {
			if r.block == nil {
				n.rows.put(r.cellRow(r.cells.items[i].key, r.cells.items[i].val))
			}
			n.useProgram(r.cells.items[i].val)
		}
		n.later.written += r.cells.len()
		for _, g := range r.groups {
			n.useGroup(g, +1)
		}
	}
	n.turned = nil
}

// patch brings a ruleset that the node has had before up to date.
func (n *node) patch(r *ruleset) {
	for _, change := range r.changes {
		n.writeCell(r, change)
	}
	if r.moved {
		n.rows.put(r.entry)
		for _, g := range r.groups {
			n.useGroup(g, +1)
		}
		for _, g := range r.before {
			n.useGroup(g, -1)
		}
	}
}

func (n *node) writeCell(r *ruleset, change cellChange) {
	if change.new != nil {
		n.rows.put(r.cellRow(change.set, change.new))
		n.later.written++
		n.useProgram(change.new)
	} else {
		n.rows.delete(snapshot.KeyOf(snapshot.CellRow{Ruleset: r.id, Set: change.set}))
	}
	if p := change.old; p != nil && n.programs.add(p, -1) == 0 {
		n.rows.delete(snapshot.KeyOf(snapshot.ProgramRow{ID: p.id}))
		for _, x := range p.rules {
			n.useRule(x, -1)
		}
	}
}

// useProgram counts one more cell of the node that points to a program.
func (n *node) useProgram(p *program) {
	if n.programs.add(p, +1) > 1 {
		return
	}
	n.rows.putShared(&p.row)
	for _, x := range p.rules {
		n.useRule(x, +1)
	}
}

// useGroup counts the rulesets of a node that tell a group apart.
func (n *node) useGroup(g *group, by int) {
	now := n.groups.add(g, by)
	if now > 0 && now != by {
		return
	}
	n.later.groups = append(n.later.groups, later[*group]{g, by})
	if g.side == partSide {
		n.recut = true
		return
	}
	g.each(n.touchPeer)
}

// writePeer writes in which groups the node sees a kind.
func (c *Compiler) writePeer(n *node, k *kind) {
	var groups []snapshot.GroupID
	if !k.gone {
		c.groupsOf(k, func(g *group) {
			if n.groups.has(g) && (!g.host || n.own == k) {
				groups = append(groups, g.id)
			}
		})
	}
	if len(groups) == 0 {
		n.rows.delete(snapshot.KeyOf(snapshot.KindRow{ID: k.id}))
		return
	}
	slices.SortFunc(groups, snapshot.CompareGroupIDs)
	n.write(snapshot.KindRow{ID: k.id, Groups: groups})
}

// writeParts writes in which groups the node sees which addresses.
func (n *node) writeParts() {
	var groups []*group
	for i := range n.groups.items {
		if g := n.groups.items[i].key; g.side == partSide {
			groups = append(groups, g)
		}
	}
	groups = sortGroups(groups)
	areas := make([]identity.Area, len(groups))
	for i, g := range groups {
		areas[i] = g.area
	}
	before := make(map[snapshot.EntryKey]struct{}, len(n.parts))
	for _, key := range n.parts {
		before[key] = struct{}{}
	}
	n.parts = n.parts[:0]
	for _, p := range identity.Partition(areas) {
		ids := make([]snapshot.GroupID, len(p.Areas))
		for i, a := range p.Areas {
			ids[i] = groups[a].id
		}
		e := snapshot.Encode(snapshot.PartRow{Prefix: p.Prefix, Groups: ids})
		n.rows.put(e)
		n.parts = append(n.parts, e.ID())
		delete(before, e.ID())
	}
	for key := range before {
		n.rows.delete(key)
	}
	n.recut = false
}
