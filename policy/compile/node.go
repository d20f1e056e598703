package compile

import (
	"slices"

	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// node is a node with the rows that are its own: for each kind that it hosts,
// the rulesets that protect it; those rulesets, with their cells, the programs
// that these point to and the rules that the programs name; and, for each kind
// and part of the cluster, in which of the groups they are that these rulesets
// tell apart.
type node struct {
	name      model.NodeName
	rows      table
	endpoints int                // on it, and the node itself
	self      *identity.Resolved // the node's own endpoint, if there is one
	own       *kind              // its kind

	hosted   dict[*kind, *hosted]
	rulesets bag[*ruleset]  // by hosted kinds and directions
	programs bag[*program]  // by cells
	rules    bag[*ruleInfo] // by programs
	groups   bag[*group]    // by rulesets
	parts    []snapshot.EntryKey
	locals   claims[model.UID]

	// Since the last commit.
	listed  bool                   // in c.dirtyNodes
	kinds   map[*kind]struct{}     // hosted kinds to look at
	peers   map[*kind]struct{}     // kinds whose row may change
	uids    map[model.UID]struct{} // endpoints whose local row may change
	turned  map[*ruleset]struct{}  // rulesets to install, perhaps, or uninstall
	patched []*ruleset             // installed rulesets whose cells changed
	recut   bool                   // a part-side group or its area changed
	weigh   bool                   // it may have more cells than before

	// What a task for this node alone leaves to do where nodes meet.
	later struct {
		rulesets []later[*ruleset]
		groups   []later[*group]
		written  int
	}
}

// later is a count that has to wait until the node's task is over.
type later[T any] struct {
	of T
	by int
}

// meet does what tasks for the node left to do.
func (c *Compiler) meet(n *node) {
	for _, x := range n.later.rulesets {
		x.of.nodes.add(n, x.by)
	}
	for _, x := range n.later.groups {
		x.of.nodes.add(n, x.by)
	}
	c.stats.RowsWritten += n.later.written
	n.later.rulesets, n.later.groups, n.later.written = nil, nil, 0
}

// hosted is a kind of which a node hosts endpoints.
type hosted struct {
	count   int
	applied [2]*ruleset // what the node's rows say
}

// node returns a node, made if it is new.
func (c *Compiler) node(name model.NodeName) *node {
	n := c.nodes[name]
	if n == nil {
		n = &node{name: name, rows: newTable(), locals: newClaims[model.UID]()}
		c.nodes[name] = n
	}
	c.touchNode(n)
	return n
}

func (c *Compiler) touchNode(n *node) {
	if !n.listed {
		n.listed = true
		c.dirtyNodes = append(c.dirtyNodes, n)
	}
}

// touchHosted says that the rulesets of a kind that the node hosts may change.
func (c *Compiler) touchHosted(n *node, k *kind) {
	c.touchNode(n)
	if n.kinds == nil {
		n.kinds = make(map[*kind]struct{})
	}
	n.kinds[k] = struct{}{}
	n.weigh = true
}

// touchPeer says that the groups in which the node sees a kind may change.
func (c *Compiler) touchPeer(n *node, k *kind) {
	c.touchNode(n)
	n.touchPeer(k)
}

func (n *node) touchPeer(k *kind) {
	if n.peers == nil {
		n.peers = make(map[*kind]struct{})
	}
	n.peers[k] = struct{}{}
}

// introduce writes whose snapshot it is.
func (n *node) introduce() {
	if n.name == "" {
		return
	}
	row := snapshot.MetaRow{Node: string(n.name)}
	if n.self != nil {
		row.PodRanges = slices.Clone(n.self.PodRanges)
		slices.SortFunc(row.PodRanges, snapshot.ComparePrefixes)
		row.PodRanges = slices.Compact(row.PodRanges)
	}
	n.rows.put(snapshot.Encode(row))
}

// host counts the endpoints of a kind on the node.
func (c *Compiler) host(n *node, k *kind, by int) {
	n.endpoints += by
	k.homes.add(n, by)
	if !k.protectable() {
		return
	}
	h := n.hosted.get(k)
	if h == nil {
		h = &hosted{}
		n.hosted.put(k, h)
	}
	if h.count += by; h.count == 0 || h.count == by {
		c.touchHosted(n, k)
	}
}

// turn finds out which rulesets the node's kinds have now, and takes away those
// that they have no more, while these are still as the node has them.
func (n *node) turn() {
	for k := range n.kinds {
		h := n.hosted.get(k)
		var now [2]*ruleset
		if h.count > 0 {
			now = k.rulesets
		}
		if now == h.applied {
			if h.count == 0 {
				n.hosted.delete(k)
			}
			continue
		}
		for d := range now {
			if now[d] == h.applied[d] {
				continue
			}
			if now[d] != nil {
				n.rulesets.add(now[d], +1)
				n.mayTurn(now[d])
			}
			if old := h.applied[d]; old != nil {
				n.rulesets.add(old, -1)
				n.mayTurn(old)
			}
		}
		h.applied = now
		if h.count == 0 {
			n.hosted.delete(k)
			n.rows.delete(snapshot.KeyOf(snapshot.SubjectRow{Kind: k.id}))
		} else {
			n.write(snapshot.SubjectRow{Kind: k.id, Ingress: now[model.Ingress].id, Egress: now[model.Egress].id})
		}
	}
	n.kinds = nil
	for r := range n.turned {
		if r.nodes.has(n) && !n.rulesets.has(r) {
			n.uninstall(r)
		}
	}
}

func (n *node) touchLocal(uid model.UID) {
	if n.uids == nil {
		n.uids = make(map[model.UID]struct{})
	}
	n.uids[uid] = struct{}{}
}

func (n *node) mayTurn(r *ruleset) {
	if n.turned == nil {
		n.turned = make(map[*ruleset]struct{})
	}
	n.turned[r] = struct{}{}
}

func (n *node) write(row snapshot.Row) {
	n.rows.put(snapshot.Encode(row))
	n.later.written++
}

// uninstall takes away a ruleset as it was at the last commit.
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

// install adds the rulesets that the node's kinds have newly, and brings the
// others up to date.
func (n *node) install() {
	for r := range n.turned {
		if r.nodes.has(n) || !n.rulesets.has(r) {
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
			if n.rules.add(x, -1) == 0 {
				n.rows.delete(snapshot.KeyOf(snapshot.RuleRow{ID: x.id}))
			}
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
		if n.rules.add(x, +1) == 1 {
			n.rows.putShared(&x.row)
		}
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
