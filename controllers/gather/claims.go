package gather

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"palisade.dev/palisade/policy/model"
)

// claims decides which ExternalWorkloads have the addresses that they claim: an
// address of a pod or node is theirs, one inside a range of the cluster is
// nobody else's, and of two workloads the one that was created first has it.
type claims struct {
	owners    map[netip.Addr]map[model.EndpointID]bool // pods and nodes
	owned     map[model.EndpointID][]netip.Addr
	ranges    map[string][]netip.Prefix // by what they are the ranges of
	workloads map[model.EndpointID]claim
	claimed   map[netip.Addr]map[model.EndpointID]bool
}

type claim struct {
	created   time.Time
	addresses []netip.Addr
}

func newClaims() *claims {
	return &claims{
		owners: map[netip.Addr]map[model.EndpointID]bool{}, owned: map[model.EndpointID][]netip.Addr{},
		ranges: map[string][]netip.Prefix{}, workloads: map[model.EndpointID]claim{},
		claimed: map[netip.Addr]map[model.EndpointID]bool{},
	}
}

// setOwner notes the addresses of a pod or node, none if it is gone, and returns
// the workloads whose verdict that may change.
func (c *claims) setOwner(id model.EndpointID, addresses []netip.Addr) []model.EndpointID {
	before := c.owned[id]
	if slices.Equal(before, addresses) {
		return nil
	}
	drop(c.owners, id, before)
	add(c.owners, id, addresses)
	if c.owned[id] = addresses; len(addresses) == 0 {
		delete(c.owned, id)
	}
	return c.claimants(before, addresses)
}

// setRanges notes the ranges of something, and returns the workloads whose
// verdict that may change.
func (c *claims) setRanges(of string, ranges []netip.Prefix) []model.EndpointID {
	if slices.Equal(c.ranges[of], ranges) {
		return nil
	}
	if c.ranges[of] = ranges; len(ranges) == 0 {
		delete(c.ranges, of)
	}
	return slices.SortedFunc(maps.Keys(c.workloads), model.CompareEndpointIDs)
}

// setWorkload notes what a workload claims, nothing if it is gone, and returns
// the others whose verdict that may change.
func (c *claims) setWorkload(id model.EndpointID, created time.Time, addresses []netip.Addr) []model.EndpointID {
	before := c.workloads[id]
	drop(c.claimed, id, before.addresses)
	add(c.claimed, id, addresses)
	if c.workloads[id] = (claim{created, addresses}); len(addresses) == 0 {
		delete(c.workloads, id)
	}
	return slices.DeleteFunc(c.claimants(before.addresses, addresses), func(other model.EndpointID) bool { return other == id })
}

// conflict says why a workload may not have its addresses, "" if it may.
func (c *claims) conflict(id model.EndpointID) string {
	own := c.workloads[id]
	for _, a := range own.addresses {
		if ids := sortedIDs(c.owners[a]); len(ids) > 0 {
			return fmt.Sprintf("%s is the address of %s %s", a, ids[0].Kind, ids[0])
		}
		for _, of := range slices.Sorted(maps.Keys(c.ranges)) {
			for _, r := range c.ranges[of] {
				if r.Contains(a) {
					return fmt.Sprintf("%s lies in %s, the range of %s", a, r, of)
				}
			}
		}
		for _, other := range sortedIDs(c.claimed[a]) {
			if c.before(other, id) {
				return fmt.Sprintf("%s is claimed by pew/%s, which was created first", a, other)
			}
		}
	}
	return ""
}

func (c *claims) before(a, b model.EndpointID) bool {
	return cmp.Or(c.workloads[a].created.Compare(c.workloads[b].created), model.CompareEndpointIDs(a, b)) < 0
}

func (c *claims) claimants(lists ...[]netip.Addr) []model.EndpointID {
	found := map[model.EndpointID]bool{}
	for _, list := range lists {
		for _, a := range list {
			maps.Copy(found, c.claimed[a])
		}
	}
	return sortedIDs(found)
}

func sortedIDs(set map[model.EndpointID]bool) []model.EndpointID {
	return slices.SortedFunc(maps.Keys(set), model.CompareEndpointIDs)
}

func add(m map[netip.Addr]map[model.EndpointID]bool, id model.EndpointID, addresses []netip.Addr) {
	for _, a := range addresses {
		if m[a] == nil {
			m[a] = map[model.EndpointID]bool{}
		}
		m[a][id] = true
	}
}

func drop(m map[netip.Addr]map[model.EndpointID]bool, id model.EndpointID, addresses []netip.Addr) {
	for _, a := range addresses {
		if delete(m[a], id); len(m[a]) == 0 {
			delete(m, a)
		}
	}
}
