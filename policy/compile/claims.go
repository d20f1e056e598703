package compile

import (
	"slices"

	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/policy/model"
)

// claims says who has what only one endpoint can have: an address, or a UID on a
// node. If several say that it is theirs, the smallest endpoint has it.
type claims[K comparable] struct {
	owner  map[K]*identity.Resolved
	others map[K][]*identity.Resolved // the ones that have to wait
}

func newClaims[K comparable]() claims[K] {
	return claims[K]{owner: make(map[K]*identity.Resolved), others: make(map[K][]*identity.Resolved)}
}

// add lets an endpoint claim a thing, or replaces its claim by a newer state.
func (c *claims[K]) add(k K, r *identity.Resolved) {
	now := c.owner[k]
	switch {
	case now == nil || now.ID == r.ID:
		c.owner[k] = r
	case model.CompareEndpointIDs(r.ID, now.ID) < 0:
		c.owner[k] = r
		c.wait(k, now)
	default:
		c.wait(k, r)
	}
}

func (c *claims[K]) wait(k K, r *identity.Resolved) {
	list := c.others[k]
	i := slices.IndexFunc(list, func(x *identity.Resolved) bool { return x.ID == r.ID })
	if i >= 0 {
		list[i] = r
		return
	}
	c.others[k] = append(list, r)
}

// remove takes an endpoint's claim back.
func (c *claims[K]) remove(k K, id model.EndpointID) {
	list := c.others[k]
	if i := slices.IndexFunc(list, func(x *identity.Resolved) bool { return x.ID == id }); i >= 0 {
		list = slices.Delete(list, i, i+1)
		c.keep(k, list)
		return
	}
	if now := c.owner[k]; now == nil || now.ID != id {
		return
	}
	if len(list) == 0 {
		delete(c.owner, k)
		return
	}
	next := slices.IndexFunc(list, func(x *identity.Resolved) bool {
		return !slices.ContainsFunc(list, func(y *identity.Resolved) bool { return model.CompareEndpointIDs(y.ID, x.ID) < 0 })
	})
	c.owner[k] = list[next]
	c.keep(k, slices.Delete(list, next, next+1))
}

func (c *claims[K]) keep(k K, list []*identity.Resolved) {
	if len(list) == 0 {
		delete(c.others, k)
		return
	}
	c.others[k] = list
}
