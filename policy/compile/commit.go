package compile

import (
	"slices"

	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// Changes is what a commit changed.
type Changes struct {
	Common snapshot.Delta
	Nodes  map[model.NodeName]snapshot.Delta // nodes whose own rows changed, new ones included
	Gone   []model.NodeName                  // nodes that are no more, sorted
	// Refused lists all policies that do not fit, by reference, and not only
	// those that this commit refused.
	Refused []Refusal
}

// Empty reports whether no row changed.
func (c *Changes) Empty() bool {
	return c.Common.Empty() && len(c.Nodes) == 0 && len(c.Gone) == 0
}

// Commit brings all rows up to date with what was put and deleted since the last
// one, and returns what changed.
func (c *Compiler) Commit() Changes {
	dirty, gone := c.commit()
	out := Changes{Common: c.common.take(), Nodes: make(map[model.NodeName]snapshot.Delta), Gone: gone}
	for _, n := range dirty {
		if d := n.rows.take(); !d.Empty() && c.nodes[n.name] == n {
			out.Nodes[n.name] = d
		}
	}
	out.Refused = c.Refusals()
	return out
}

// commit does the work. It returns the nodes that were looked at and those that
// are gone.
func (c *Compiler) commit() ([]*node, []model.NodeName) {
	c.commits++
	c.readPolicies()
	c.settleKinds()
	c.settleAreas()
	for _, l := range c.changedLenses {
		l.finish()
	}
	c.loadPolicies()
	c.relist()
	c.assignAll()
	c.admit()
	gone := c.distribute()
	c.collect()
	dirty := c.dirtyNodes
	c.dirtyNodes = nil
	return dirty, gone
}

// assignAll gives every kind that asks for it its rulesets, those rulesets those
// of their peers, and every ruleset whose policies changed its lens.
func (c *Compiler) assignAll() {
	for _, k := range c.dirtyKinds {
		k.dirty = false
		c.assign(k)
	}
	c.dirtyKinds = c.dirtyKinds[:0]
	for _, r := range c.recounting {
		c.recount(r)
	}
	c.recounting = c.recounting[:0]
	for _, r := range c.unfocused {
		if r.kinds > 0 {
			c.focus(r)
		}
	}
	c.unfocused = c.unfocused[:0]
}

// settleKinds gives every endpoint its kind and moves it where it belongs.
func (c *Compiler) settleKinds() {
	changes := c.ids.Settle()
	for _, k := range changes.Removed {
		c.removeKind(k)
	}
	for _, k := range changes.Added {
		c.addKind(k)
	}
	if len(changes.Added)+len(changes.Removed) > 0 {
		c.unsettled = true
	}
	for _, x := range changes.Endpoints {
		c.place(x)
	}
}

// place moves one endpoint's addresses and its seat on a node.
func (c *Compiler) place(x identity.Change) {
	if old := x.Old; old != nil {
		n := c.node(seat(old))
		c.host(n, c.kinds[old.Kind], -1)
		for _, a := range old.Addresses {
			c.touchedAddrs[a] = struct{}{}
			if x.New == nil || !slices.Contains(x.New.Addresses, a) {
				c.addresses.remove(a, old.ID)
			}
		}
		if old.UID != "" && !old.HostNetwork {
			n.touchLocal(old.UID)
			n.locals.remove(old.UID, old.ID)
		}
		for _, uid := range runtimeUIDs(old) {
			n.runtime.touchPod(uid)
			n.runtime.pods.remove(uid, old.ID)
		}
		if n.self == old {
			n.self, n.own = nil, nil
			c.touchPeer(n, c.kinds[old.Kind])
		}
		if isHost(old) {
			n := c.node(old.Node)
			n.own = nil
			c.host(n, c.kinds[old.Kind], -1)
		}
	}
	if now := x.New; now != nil {
		n := c.node(seat(now))
		k := c.kinds[now.Kind]
		c.host(n, k, +1)
		for _, a := range now.Addresses {
			c.touchedAddrs[a] = struct{}{}
			c.addresses.add(a, now)
		}
		if now.UID != "" && !now.HostNetwork {
			n.touchLocal(now.UID)
			n.locals.add(now.UID, now)
		}
		for _, uid := range runtimeUIDs(now) {
			n.runtime.touchPod(uid)
			n.runtime.pods.add(uid, now)
		}
		if now.ID.Kind == model.EndpointNode {
			n.self, n.own = now, k
			c.touchPeer(n, k)
		}
		if isHost(now) {
			n := c.node(now.Node)
			n.own = k
			c.host(n, k, +1)
		}
	}
}

// seat is the node that an endpoint is on: for an external workload, the one without
// a name.
func seat(r *identity.Resolved) model.NodeName {
	switch r.ID.Kind {
	case model.EndpointNode:
		return model.NodeName(r.ID.Name)
	case model.EndpointExternal:
		return ""
	}
	return r.Node
}

// isHost reports whether an endpoint is an external workload whose host has rules
// about its own processes. Nobody judges its packets, so that it keeps its seat too.
func isHost(r *identity.Resolved) bool { return r.ID.Kind == model.EndpointExternal && r.Node != "" }

// settleAreas finds the lenses and nodes that see other addresses in a group.
func (c *Compiler) settleAreas() {
	for g := range c.areas {
		if g.ofAPI {
			g.area = hosts(c.apiServer)
		} else {
			g.area = identity.Area{In: c.addressGroups[g.listed]}
		}
		g.lenses.each(func(l *lens) {
			l.recut = true
			c.changeLens(l)
		})
		g.nodes.each(func(n *node) {
			n.recut = true
			c.touchNode(n)
		})
		c.unsettled = true
	}
	clear(c.areas)
}

// collect forgets what nobody needs any more. What was idle for a moment and is
// used again stays.
func (c *Compiler) collect() {
	for _, r := range c.changedRulesets {
		r.settle()
	}
	for _, l := range c.changedLenses {
		l.settle()
	}
	for _, r := range c.installing {
		r.installs, r.block = 0, nil
	}
	for _, x := range c.shared {
		x.settle()
	}
	for _, r := range c.changedRuntime {
		r.settle()
	}
	c.changedRulesets, c.changedLenses, c.installing, c.shared = nil, nil, nil, nil
	c.changedRuntime, c.reseated = nil, nil
	for _, r := range c.idle.runtime {
		c.dropRuntimeRuleset(r)
	}
	for _, r := range c.idle.rulesets {
		c.dropRuleset(r)
	}
	for _, p := range c.idle.programs {
		if p.cells == 0 && c.programs[p.id] == p {
			delete(c.programs, p.id)
		}
	}
	for _, l := range c.idle.lenses {
		c.dropLens(l)
	}
	for _, g := range c.idle.groups {
		c.dropGroup(g)
	}
	for _, s := range c.idle.selectors {
		c.dropSelector(s)
	}
	for _, k := range c.idle.kinds {
		delete(c.kinds, k)
	}
	c.idle = idle{}
	c.unsettled = false
}

func (c *Compiler) dropRuleset(r *ruleset) {
	if r.kinds > 0 || c.rulesets[r.key] != r {
		return
	}
	delete(c.rulesets, r.key)
	for i := range r.cells.items {
		c.releaseProgram(r.cells.items[i].val)
	}
	if r.lens != nil {
		c.blur(r)
	}
}

func (c *Compiler) dropLens(l *lens) {
	if l.rulesets.len() > 0 || c.lenses[l.key] != l {
		return
	}
	delete(c.lenses, l.key)
	for _, g := range l.groups {
		g.lenses.add(l, -1)
	}
	for _, n := range l.names {
		n.lenses.add(l, -1)
		c.dropPortName(n)
	}
}
