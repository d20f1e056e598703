package layout

import (
	"net/netip"

	"palisade.dev/palisade/snapshot"
)

// combo is what an address's class depends on: the kind of who has it, and the
// part of the address space that it lies in (the zero prefix: none).
type combo struct {
	kind snapshot.KindID
	part netip.Prefix
}

// holder is who has an address.
type holder struct {
	kind    snapshot.KindID
	uid     string // of a pod of this node, else empty
	ifindex uint32
	unbound bool // a fact names a pod that the snapshot does not know
}

// holder says who has an address: a fact goes before the snapshot.
func (s *store) holder(a netip.Addr) (holder, bool) {
	if f, ok := s.facts[a]; ok {
		if row, ok := s.locals[f.UID]; ok {
			return holder{kind: row.Kind, uid: f.UID, ifindex: f.Ifindex}, true
		}
		return holder{kind: snapshot.WorldKind, unbound: true}, true
	}
	r, ok := s.addresses[a]
	if !ok {
		return holder{}, false
	}
	if row, ok := s.locals[r.uid]; ok && r.uid != "" {
		return holder{kind: row.Kind, uid: r.uid}, true
	}
	return holder{kind: r.kind}, true
}

// addressesOf lists the addresses that facts or the snapshot give to a pod; some
// of the snapshot's may be another's by a fact.
func (s *store) addressesOf(uid string) []netip.Addr {
	list := s.byUID[uid]
	for a, f := range s.facts {
		if f.UID == uid {
			list = append(list[:len(list):len(list)], a)
		}
	}
	return list
}

// affected is every address whose place in the image may change.
func (l *Layout) affected(c *changes) map[netip.Addr]struct{} {
	out := c.addresses
	if c.parts {
		for a := range l.store.addresses {
			out[a] = struct{}{}
		}
		for a := range l.store.facts {
			out[a] = struct{}{}
		}
		for a := range l.held {
			out[a] = struct{}{}
		}
	}
	for uid := range c.uids {
		for _, a := range l.store.addressesOf(uid) {
			out[a] = struct{}{}
		}
	}
	return out
}
