package compile

import (
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// distribute computes the cells that changed and brings nodes up to date. What
// concerns one node alone is done for several nodes at a time.
func (c *Compiler) distribute() []model.NodeName {
	c.eachDirtyNode((*node).turn)
	for _, n := range c.dirtyNodes {
		for r := range n.turned {
			if !r.nodes.has(n) && n.rulesets.has(r) {
				if r.installs++; r.installs == 1 {
					c.installing = append(c.installing, r)
				}
			}
		}
	}
	for _, l := range c.changedLenses {
		l.rulesets.each(func(r *ruleset) { c.changeRuleset(r) })
	}
	for _, r := range c.changedRulesets {
		if r.kinds == 0 {
			continue
		}
		c.update(r)
		r.nodes.each(func(n *node) {
			c.touchNode(n)
			n.patched = append(n.patched, r)
		})
	}
	for _, r := range c.installing {
		c.share(r)
	}
	c.distributeRuntime()
	for _, x := range c.renamed {
		for _, n := range c.nodes {
			if n.rules.has(x) {
				c.touchNode(n)
				n.rows.put(x.row.entry)
			}
		}
	}
	c.renamed = nil
	c.eachDirtyNode(c.refresh, c.writeCommon)
	var gone []model.NodeName
	for _, n := range c.dirtyNodes {
		n.listed, n.weigh = false, false
		if n.endpoints == 0 {
			delete(c.nodes, n.name)
			gone = append(gone, n.name)
		}
	}
	slices.Sort(gone)
	return gone
}

// eachDirtyNode runs a task for every node that something changed for, and others
// beside them.
func (c *Compiler) eachDirtyNode(task func(*node), others ...func()) {
	tasks := others
	for _, n := range c.dirtyNodes {
		tasks = append(tasks, func() { task(n) })
	}
	parallel(tasks)
	for _, n := range c.dirtyNodes {
		c.meet(n)
	}
}

// refresh writes what changed of a node's rows.
func (c *Compiler) refresh(n *node) {
	for _, r := range n.patched {
		n.patch(r)
	}
	n.patched = nil
	c.refreshRuntime(n)
	n.install()
	for uid := range n.uids {
		c.writeLocal(n, uid)
	}
	n.uids = nil
	for k := range n.peers {
		c.writePeer(n, k)
	}
	n.peers = nil
	if n.recut {
		n.writeParts()
	}
	if n.endpoints > 0 {
		n.introduce()
	}
}

func (c *Compiler) writeLocal(n *node, uid model.UID) {
	r := n.locals.owner[uid]
	if r == nil {
		n.rows.delete(snapshot.KeyOf(snapshot.LocalRow{UID: string(uid)}))
		return
	}
	n.write(snapshot.LocalRow{
		UID: string(uid), Kind: c.kinds[r.Kind].id, Namespace: r.ID.Namespace, Name: r.ID.Name,
	})
}

func (c *Compiler) writeCommon() {
	for a := range c.touchedAddrs {
		r := c.addresses.owner[a]
		if r == nil {
			c.common.delete(snapshot.KeyOf(snapshot.AddressRow{Addr: a}))
			continue
		}
		c.common.put(snapshot.Encode(snapshot.AddressRow{
			Addr: a, Kind: c.kinds[r.Kind].id, Endpoint: uint8(r.ID.Kind),
			UID: string(r.UID), Namespace: r.ID.Namespace, Name: r.ID.Name,
		}))
		c.stats.RowsWritten++
	}
	clear(c.touchedAddrs)
}
