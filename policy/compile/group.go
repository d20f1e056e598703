package compile

import (
	"net/netip"
	"slices"

	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/policy/index"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// group is a set of peers that some rule names.
type group struct {
	content string
	id      snapshot.GroupID
	seq     uint32 // tells groups apart in keys that live no longer than the compiler
	side    side
	uses    int // by rules of policies

	// Kind side: who is in it. A selector knows its members itself.
	selector *selector
	members  bag[*kind]
	host     bool // Host: every node is a member, somewhere
	named    bool // a named port: it is there while it has members

	// Part side: which addresses are in it.
	area   identity.Area
	listed string // the address group that says so
	ofAPI  bool   // APIServer

	lenses bag[*lens]
	nodes  bag[*node] // that tell it apart, by their rulesets
}

// side says what decides whether a peer is in a group: its kind or its address.
type side uint8

const (
	kindSide side = iota
	partSide
)

// each visits the kinds in a kind-side group.
func (g *group) each(visit func(*kind)) {
	if g.selector != nil {
		g.selector.hits.Each(visit)
		return
	}
	g.members.each(visit)
}

func compareGroups(a, b *group) int { return snapshot.CompareGroupIDs(a.id, b.id) }

// sortGroups sorts a list and removes repetitions.
func sortGroups(list []*group) []*group {
	slices.SortFunc(list, compareGroups)
	return slices.Compact(list)
}

func groupIDs(list []*group) []snapshot.GroupID {
	out := make([]snapshot.GroupID, len(list))
	for i, g := range list {
		out[i] = g.id
	}
	return out
}

// selector is a condition on endpoints that policies make, as their subject or
// as a peer.
type selector struct {
	key      string
	hits     *index.Selected[*kind, *selector]
	group    *group       // as a peer
	subjects bag[*policy] // as a subject, in force or refused
}

func (c *Compiler) selectorOf(q index.Query) *selector {
	if q.Kind == model.EndpointNode {
		q.Namespaces = model.NamespaceMatch{} // nodes are in none
	}
	key := string(q.AppendKey(nil))
	s := c.selectors[key]
	if s == nil {
		s = &selector{key: key}
		s.hits = c.index.AddQuery(s, q)
		c.selectors[key] = s
	}
	return s
}

func (c *Compiler) dropSelector(s *selector) {
	if s.group == nil && s.subjects.len() == 0 && c.selectors[s.key] == s {
		c.index.RemoveQuery(s.hits)
		delete(c.selectors, s.key)
	}
}

// The first byte of the content by which a group is numbered.
const (
	groupSelector byte = iota + 1
	groupBlock
	groupAddressGroup
	groupEntity
	groupNamedPort
)

// groupOf returns the group of a peer; the caller counts the use.
func (c *Compiler) groupOf(p *model.Peer) *group {
	content := groupContent(p)
	g, isNew := c.group(content)
	if !isNew {
		return g
	}
	switch p.Kind {
	case model.PeerEndpoints:
		s := c.selectorOf(index.Query{Kind: p.Endpoint, Namespaces: p.Namespaces, Labels: p.Labels})
		s.group, g.selector = g, s
	case model.PeerBlock:
		g.side = partSide
		g.area = identity.Area{In: []netip.Prefix{p.Block.CIDR}, Out: p.Block.Except}
	case model.PeerAddressGroup:
		g.side, g.listed = partSide, p.Name
		g.area = identity.Area{In: c.addressGroups[p.Name]}
		c.listed[p.Name] = g
	case model.PeerEntity:
		c.openEntity(g, p.Entity)
	}
	return g
}

func (c *Compiler) openEntity(g *group, e model.Entity) {
	if e == model.EntityAPIServer {
		g.side, g.ofAPI = partSide, true
		g.area = hosts(c.apiServer)
		c.apiGroup = g
		return
	}
	c.entities[e] = g
	g.host = e == model.EntityHost
	if c.world.inEntity(e) {
		g.members.add(c.world, 1)
	}
	for _, k := range c.kinds {
		if !k.gone && k.inEntity(e) {
			g.members.add(k, 1)
		}
	}
}

// inEntity reports whether a kind is in an entity that kinds decide. Every node
// is in Host: on the node that it is.
func (k *kind) inEntity(e model.Entity) bool {
	switch e {
	case model.EntityCluster:
		return k.addressable()
	case model.EntityWorld:
		return k.isWorld()
	case model.EntityHost:
		return !k.isWorld() && k.of.Endpoint == model.EndpointNode
	}
	return false
}

func hosts(addrs []netip.Addr) identity.Area {
	var a identity.Area
	for _, ip := range addrs {
		a.In = append(a.In, netip.PrefixFrom(ip, ip.BitLen()))
	}
	return a
}

func groupContent(p *model.Peer) []byte {
	switch p.Kind {
	case model.PeerEndpoints:
		q := index.Query{Kind: p.Endpoint, Labels: p.Labels}
		if p.Endpoint != model.EndpointNode {
			q.Namespaces = p.Namespaces
		}
		return q.AppendKey([]byte{groupSelector})
	case model.PeerBlock:
		b := appendPrefix([]byte{groupBlock}, p.Block.CIDR)
		except := slices.Clone(p.Block.Except)
		slices.SortFunc(except, identity.ComparePrefixes)
		for _, e := range slices.Compact(except) {
			b = appendPrefix(b, e)
		}
		return b
	case model.PeerAddressGroup:
		return append([]byte{groupAddressGroup}, p.Name...)
	default:
		return []byte{groupEntity, byte(p.Entity)}
	}
}

func appendPrefix(b []byte, p netip.Prefix) []byte {
	a := p.Addr().As16()
	return append(append(b, byte(p.Addr().BitLen()), byte(p.Bits())), a[:]...)
}

// group returns the group of a content, and whether it is new.
func (c *Compiler) group(content []byte) (*group, bool) {
	if g := c.groups[string(content)]; g != nil {
		return g, false
	}
	c.seq++
	g := &group{content: string(content), id: snapshot.NewGroupID(content), seq: c.seq}
	c.groups[g.content] = g
	return g, true
}

// releaseGroup takes one use of a group back. It stays until the commit ends: a
// ruleset that goes may still name it.
func (c *Compiler) releaseGroup(g *group) {
	if g.uses--; g.uses == 0 {
		c.idle.groups = append(c.idle.groups, g)
	}
}

// dropGroup forgets a group that nobody uses any more.
func (c *Compiler) dropGroup(g *group) {
	if g.uses > 0 || g.members.len() > 0 && g.named || c.groups[g.content] != g {
		return // used again since, or dropped already
	}
	delete(c.groups, g.content)
	switch {
	case g.selector != nil:
		g.selector.group = nil
		c.dropSelector(g.selector)
	case g.listed != "":
		delete(c.listed, g.listed)
	case g.ofAPI:
		c.apiGroup = nil
	}
	for e := range c.entities {
		if c.entities[e] == g {
			c.entities[e] = nil
		}
	}
}
