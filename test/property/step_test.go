package property

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// step changes the world by one random event and tells a compiler of it.
func (w *world) step(r *rand.Rand, c *compile.Compiler) {
	switch r.IntN(16) {
	case 0, 1, 2, 3:
		e := w.drawEndpoint(r, drawEndpointID(r))
		w.endpoints[e.ID] = e
		c.PutEndpoint(e)
	case 4:
		w.editEndpoint(r, c)
	case 5:
		id := drawEndpointID(r)
		delete(w.endpoints, id)
		c.DeleteEndpoint(id)
	case 6:
		ns := model.Namespace{Name: pick(r, namespaceNames), Labels: drawLabels(r)}
		w.namespaces[ns.Name] = ns
		c.PutNamespace(ns)
	case 7:
		if chance(r, 3) {
			name := pick(r, namespaceNames)
			delete(w.namespaces, name)
			c.DeleteNamespace(name)
		}
	case 8, 9, 10:
		w.clock++
		w.putPolicy(drawPolicy(r), w.clock, c)
	case 11:
		w.editPolicy(r, c)
	case 12:
		if ref, ok := w.anyPolicy(r); ok {
			delete(w.policies, ref)
			c.DeletePolicy(ref)
		}
	case 13:
		g := model.AddressGroup{Name: pick(r, groupNames)}
		g.CIDRs = some(r, 0, 4, func() netip.Prefix { return pick(r, prefixes) })
		w.groups[g.Name] = g
		c.PutAddressGroup(g)
	case 14:
		name := pick(r, groupNames)
		delete(w.groups, name)
		c.DeleteAddressGroup(name)
	case 15:
		w.apiServer = some(r, 0, 2, func() netip.Addr { return pick(r, addresses) })
		c.SetAPIServer(w.apiServer)
	}
}

func (w *world) putPolicy(p model.Policy, order compile.Order, c *compile.Compiler) {
	w.policies[p.Ref] = ordered{p, order}
	c.PutPolicy(p, order)
}

func (w *world) anyPolicy(r *rand.Rand) (model.PolicyRef, bool) {
	refs := slices.SortedFunc(maps.Keys(w.policies), model.ComparePolicyRefs)
	if len(refs) == 0 {
		return model.PolicyRef{}, false
	}
	return pick(r, refs), true
}

// editPolicy changes one thing about a policy that exists.
func (w *world) editPolicy(r *rand.Rand, c *compile.Compiler) {
	ref, ok := w.anyPolicy(r)
	if !ok {
		return
	}
	was := w.policies[ref]
	p, order := was.policy, was.order
	switch r.IntN(9) {
	case 0:
		p.Mode = 1 - p.Mode
	case 1:
		p.Expired = !p.Expired
	case 2:
		p.Message += "!"
	case 3:
		p.Subject.Labels = drawSelector(r)
	case 4:
		p.Ingress = nil
	case 5:
		p.Egress = slices.Clone(p.Egress)
		slices.Reverse(p.Egress)
	case 6:
		order++
	case 7, 8:
		if p.Runtime == nil {
			return
		}
		runtime := *p.Runtime
		p.Runtime = &runtime
		s := model.Section(r.IntN(model.Sections))
		section := &runtime.Sections[s]
		switch r.IntN(4) {
		case 0:
			section.Isolates = p.Tier != model.TierAdmin && !section.Isolates
		case 1:
			section.Rules = nil
		case 2:
			section.Rules = []model.RuntimeRule{drawRuntimeRule(r, s, "r-0"), drawRuntimeRule(r, s, "r-9")}
		case 3:
			runtime.Containers = sorted(r, 2, containerNames, strings.Compare)
		}
	}
	w.putPolicy(p, order, c)
}

// editEndpoint changes one thing about an endpoint that exists.
func (w *world) editEndpoint(r *rand.Rand, c *compile.Compiler) {
	ids := slices.SortedFunc(maps.Keys(w.endpoints), model.CompareEndpointIDs)
	if len(ids) == 0 {
		return
	}
	e := w.endpoints[pick(r, ids)]
	switch r.IntN(5) {
	case 0:
		e.Labels = drawLabels(r)
	case 1:
		e.Addresses = nil
	case 2:
		e.Addresses = []netip.Addr{pick(r, addresses)}
	case 3:
		switch e.ID.Kind {
		case model.EndpointPod:
			e.Node = model.NodeName(pick(r, nodeNames))
		case model.EndpointExternal:
			e.Node = pick(r, []model.NodeName{"", model.HostOf(e.ID)})
		}
	case 4:
		if e.ID.Kind == model.EndpointPod {
			e.HostNetwork = !e.HostNetwork
		}
	}
	if e.HostNetwork {
		e.Addresses = nil
	}
	w.endpoints[e.ID] = e
	c.PutEndpoint(e)
}
