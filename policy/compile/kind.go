package compile

import (
	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/policy/index"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// kind is a class of endpoints, as the compiler sees it.
type kind struct {
	id     snapshot.KindID
	of     *identity.Kind // nil for the world
	target *index.Target[*kind, *selector]
	ports  []*group // of its named ports

	homes    bag[*node]    // where its endpoints are, and how many
	rulesets [2]*ruleset   // what protects them, by direction; nil for nodes and the world
	runtime  []runtimeSeat // what their containers may do, sorted
	dirty    bool          // in c.dirtyKinds
	gone     bool          // nobody is of this kind any more
}

func (k *kind) isWorld() bool { return k.of == nil }

// protectable reports whether rules of the network can have the kind's endpoints
// as subjects. Runtime rules can be about all of them.
func (k *kind) protectable() bool {
	return k.addressable() && k.of.Endpoint != model.EndpointNode
}

// addressable reports whether the kind's endpoints have addresses of their own.
func (k *kind) addressable() bool {
	return !k.isWorld() && k.of.Endpoint != model.EndpointHostPod
}

// groups visits the kind-side groups that the kind is in, Host included for a
// node.
func (c *Compiler) groupsOf(k *kind, visit func(*group)) {
	if k.target != nil {
		k.target.Each(func(s *selector) {
			if s.group != nil {
				visit(s.group)
			}
		})
	}
	for _, g := range k.ports {
		visit(g)
	}
	for e, g := range c.entities {
		if g != nil && k.inEntity(model.Entity(e)) {
			visit(g)
		}
	}
}

// addKind makes a kind known to groups and lenses.
func (c *Compiler) addKind(of *identity.Kind) {
	k := &kind{id: snapshot.NewKindID([]byte(of.Content)), of: of}
	c.kinds[of] = k
	k.target = c.index.AddTarget(k, index.Place{
		Kind: of.Endpoint, Namespace: of.Namespace, NamespaceLabels: of.NamespaceLabels,
	}, of.Labels)
	for _, p := range of.Ports {
		g := c.portGroup(p)
		if g.members.len() == 0 {
			c.openPort(p, g)
		}
		g.members.add(k, 1)
		k.ports = append(k.ports, g)
	}
	for e, g := range c.entities {
		if g != nil && k.inEntity(model.Entity(e)) {
			g.members.add(k, 1)
		}
	}
	c.count(k, +1)
	c.markKind(k)
	c.stats.KindsAdded++
}

// removeKind takes a kind out of groups and lenses. Its rulesets go when the
// commit comes to that.
func (c *Compiler) removeKind(of *identity.Kind) {
	k := c.kinds[of]
	c.count(k, -1)
	for i, p := range of.Ports {
		g := k.ports[i]
		if g.members.add(k, -1); g.members.len() == 0 {
			c.closePort(p, g)
		}
	}
	for e, g := range c.entities {
		if g != nil && k.inEntity(model.Entity(e)) {
			g.members.add(k, -1)
		}
	}
	c.index.RemoveTarget(k.target, of.Endpoint)
	k.target, k.ports, k.gone = nil, nil, true
	c.idle.kinds = append(c.idle.kinds, of)
	c.markKind(k)
	c.stats.KindsRemoved++
}

// count tells every lens that tells the kind's groups apart that there is one
// kind more or less, and the nodes that have a row for it.
func (c *Compiler) count(k *kind, by int) {
	inLens := make(map[*lens][]*group)
	c.groupsOf(k, func(g *group) {
		g.lenses.each(func(l *lens) { inLens[l] = append(inLens[l], g) })
		g.nodes.each(func(n *node) { c.touchPeer(n, k) })
	})
	for l, groups := range inLens {
		c.countIn(l, groups, by)
	}
}

func (c *Compiler) markKind(k *kind) {
	if !k.dirty {
		k.dirty = true
		c.dirtyKinds = append(c.dirtyKinds, k)
	}
}
