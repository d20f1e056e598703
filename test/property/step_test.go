package property

import (
	"maps"
	"net/netip"
	"slices"

	"pgregory.net/rapid"

	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// step changes the world by one random event and tells a compiler of it.
func (w *world) step(t *rapid.T, c *compile.Compiler) {
	switch rapid.IntRange(0, 15).Draw(t, "event") {
	case 0, 1, 2, 3:
		e := w.drawEndpoint(t, drawEndpointID(t))
		w.endpoints[e.ID] = e
		c.PutEndpoint(e)
	case 4:
		w.editEndpoint(t, c)
	case 5:
		id := drawEndpointID(t)
		delete(w.endpoints, id)
		c.DeleteEndpoint(id)
	case 6:
		ns := model.Namespace{Name: pick(t, "namespace", namespaceNames), Labels: drawLabels(t)}
		w.namespaces[ns.Name] = ns
		c.PutNamespace(ns)
	case 7:
		if chance(t, "delete a namespace", 3) {
			name := pick(t, "namespace", namespaceNames)
			delete(w.namespaces, name)
			c.DeleteNamespace(name)
		}
	case 8, 9, 10:
		w.clock++
		w.putPolicy(drawPolicy(t), w.clock, c)
	case 11:
		w.editPolicy(t, c)
	case 12:
		if ref, ok := w.anyPolicy(t); ok {
			delete(w.policies, ref)
			c.DeletePolicy(ref)
		}
	case 13:
		g := model.AddressGroup{Name: pick(t, "group", groupNames)}
		g.CIDRs = some(t, "cidrs", 0, 4, func() netip.Prefix { return pick(t, "cidr", prefixes) })
		w.groups[g.Name] = g
		c.PutAddressGroup(g)
	case 14:
		name := pick(t, "group", groupNames)
		delete(w.groups, name)
		c.DeleteAddressGroup(name)
	case 15:
		w.apiServer = some(t, "api server", 0, 2, func() netip.Addr { return pick(t, "address", addresses) })
		c.SetAPIServer(w.apiServer)
	}
}

func (w *world) putPolicy(p model.Policy, order compile.Order, c *compile.Compiler) {
	w.policies[p.Ref] = ordered{p, order}
	c.PutPolicy(p, order)
}

func (w *world) anyPolicy(t *rapid.T) (model.PolicyRef, bool) {
	refs := slices.SortedFunc(maps.Keys(w.policies), model.ComparePolicyRefs)
	if len(refs) == 0 {
		return model.PolicyRef{}, false
	}
	return pick(t, "of the policies", refs), true
}

// editPolicy changes one thing about a policy that exists.
func (w *world) editPolicy(t *rapid.T, c *compile.Compiler) {
	ref, ok := w.anyPolicy(t)
	if !ok {
		return
	}
	was := w.policies[ref]
	p, order := was.policy, was.order
	switch rapid.IntRange(0, 6).Draw(t, "edit") {
	case 0:
		p.Mode = 1 - p.Mode
	case 1:
		p.Expired = !p.Expired
	case 2:
		p.Message += "!"
	case 3:
		p.Subject.Labels = drawSelector(t)
	case 4:
		p.Ingress = nil
	case 5:
		p.Egress = slices.Clone(p.Egress)
		slices.Reverse(p.Egress)
	case 6:
		order++
	}
	w.putPolicy(p, order, c)
}

// editEndpoint changes one thing about an endpoint that exists.
func (w *world) editEndpoint(t *rapid.T, c *compile.Compiler) {
	ids := slices.SortedFunc(maps.Keys(w.endpoints), model.CompareEndpointIDs)
	if len(ids) == 0 {
		return
	}
	e := w.endpoints[pick(t, "of the endpoints", ids)]
	switch rapid.IntRange(0, 3).Draw(t, "edit") {
	case 0:
		e.Labels = drawLabels(t)
	case 1:
		e.Addresses = nil
	case 2:
		e.Addresses = []netip.Addr{pick(t, "address", addresses)}
	case 3:
		if e.ID.Kind == model.EndpointPod {
			e.Node = model.NodeName(pick(t, "on", nodeNames))
		}
	}
	w.endpoints[e.ID] = e
	c.PutEndpoint(e)
}
