package reference

import (
	"net/netip"
	"slices"

	"palisade.dev/palisade/policy/model"
)

// matches reports whether a rule matches: any of its peers and any of its ports.
func (q question) matches(r model.Rule, subject, peer end) bool {
	anyPeer, anyPort := false, false
	for _, p := range r.Peers {
		anyPeer = anyPeer || q.peerMatches(p, subject, peer)
	}
	for _, p := range r.Ports {
		anyPort = anyPort || q.portMatches(p)
	}
	return anyPeer && anyPort
}

// portMatches reports whether the connection's protocol and port are meant.
func (q question) portMatches(m model.PortMatch) bool {
	if m.Proto != model.ProtoAny && m.Proto != q.conn.Proto {
		return false
	}
	switch {
	case m.Name != "":
		// The server's port of that name, in either direction; a server that
		// does not know the name is not matched.
		return q.server.endpoint != nil && slices.Contains(q.server.endpoint.Ports,
			model.NamedPort{Name: m.Name, Proto: q.conn.Proto, Port: q.conn.Port})
	case m.Proto == model.ProtoAny:
		return true // every protocol, those without ports included
	default:
		return m.Lo <= q.conn.Port && q.conn.Port <= m.Hi
	}
}

// peerMatches reports whether the other end is meant.
func (q question) peerMatches(p model.Peer, subject, peer end) bool {
	switch p.Kind {
	case model.PeerAny:
		return true
	case model.PeerEndpoints:
		return q.selects(p.Endpoint, p.Namespaces, p.Labels, peer.endpoint)
	case model.PeerBlock:
		return blockContains(p.Block, peer.addr)
	case model.PeerAddressGroup:
		return q.groupContains(p.Name, peer.addr)
	case model.PeerEntity:
		return q.entityContains(p.Entity, subject, peer)
	default:
		return false
	}
}

// blockContains reports whether an address lies in a block and in no except of
// it. Whose address it is does not matter.
func blockContains(b model.Block, addr netip.Addr) bool {
	return within(b.CIDR, addr) && !anyWithin(b.Except, addr)
}

// groupContains reports whether an address lies in the group of that name. A
// group that does not exist matches nobody.
func (q question) groupContains(name string, addr netip.Addr) bool {
	for _, g := range q.cluster.AddressGroups {
		if g.Name == name && anyWithin(g.CIDRs, addr) {
			return true
		}
	}
	return false
}

func anyWithin(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return within(p, addr) })
}

// within reports whether the first bits of an address are a prefix's.
func within(prefix netip.Prefix, addr netip.Addr) bool {
	a, p := addr.AsSlice(), prefix.Addr().AsSlice()
	if len(a) != len(p) {
		return false // IPv4 and IPv6 share no addresses
	}
	for i := range prefix.Bits() {
		bit := byte(1) << (7 - i%8)
		if a[i/8]&bit != p[i/8]&bit {
			return false
		}
	}
	return true
}

// entityContains reports whether the other end belongs to an entity.
func (q question) entityContains(e model.Entity, subject, peer end) bool {
	switch e {
	case model.EntityCluster:
		return peer.endpoint != nil // pods, nodes, external workloads
	case model.EntityWorld:
		return peer.endpoint == nil // exactly the rest
	case model.EntityHost:
		return hosts(peer.endpoint, subject.endpoint)
	case model.EntityAPIServer:
		return slices.Contains(q.cluster.APIServer, peer.addr)
	default:
		return false
	}
}
