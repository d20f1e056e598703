package nodeagent

import (
	"net/netip"
	"slices"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/snapshot"
)

// namer makes flow records out of events: it knows who has an address and what a
// rule is called.
type namer struct {
	holding  *holding
	bindings func() ([]facts.Binding, facts.Revision)
}

func newNamer(h *holding, bindings func() ([]facts.Binding, facts.Revision)) *namer {
	return &namer{h, bindings}
}

// flow makes the record of an event.
func (n *namer) flow(e datapath.Event) flows.Flow {
	f := flows.Flow{
		Time: e.Time, Type: flows.TypeFlow, Verdict: flows.Allow, Generation: e.Generation.String(),
		From: n.end(e.Client, e.Protocol), To: n.end(e.Server, e.Protocol),
		Protocol: flows.Protocol(e.Protocol), Interface: interfaceName(e.Interface),
		Bytes: e.Length, State: string(e.State),
	}
	egress, ingress := n.decision(e.Egress.Enforced), n.decision(e.Ingress.Enforced)
	f.Egress = egress.Judge(verdict(e.Egress.Enforced))
	f.Ingress = ingress.Judge(verdict(e.Ingress.Enforced))
	// The direction that denied, else the one that asked for the record, is what
	// the record is about.
	about, by := e.Egress, egress
	f.Direction = flows.Egress
	if !e.Egress.Enforced.Deny && (e.Ingress.Enforced.Deny || !wanted(e.Egress) && wanted(e.Ingress)) {
		about, by, f.Direction = e.Ingress, ingress, flows.Ingress
	}
	f.Decision = by
	if e.Denied {
		f.Verdict = flows.Deny
	}
	if e.Protocol == 1 || e.Protocol == 58 {
		f.ICMP = &flows.ICMP{Type: uint8(e.Server.Port() >> 8), Code: uint8(e.Server.Port())}
	}
	f.Staged = n.staged(e, about)
	return f
}

// wanted reports whether a direction gave rise to a record although it allowed.
func wanted(j datapath.Judged) bool {
	return j.Enforced.Log || j.Staged.Log || j.Staged.Deny != j.Enforced.Deny
}

// staged is what Audit policies would change about the verdict over both
// directions; nil where they change nothing.
func (n *namer) staged(e datapath.Event, about datapath.Judged) *flows.Judged {
	deny := e.Egress.Staged.Deny || e.Ingress.Staged.Deny
	if deny == e.Denied {
		return nil
	}
	by := about.Staged
	switch {
	case e.Egress.Staged.Deny:
		by = e.Egress.Staged
	case e.Ingress.Staged.Deny:
		by = e.Ingress.Staged
	}
	return n.decision(by).Stage(verdict(by))
}

func verdict(a datapath.Attribution) flows.Verdict {
	if a.Deny {
		return flows.Deny
	}
	return flows.Allow
}

func (n *namer) decision(a datapath.Attribution) flows.Decision {
	if a.Row.ID != (snapshot.RuleID{}) {
		return flows.DecisionOf(a.Row)
	}
	if row, ok := n.holding.rule(a.Rule); ok {
		return flows.DecisionOf(row)
	}
	if a.Builtin != "" {
		return flows.Builtin(a.Builtin)
	}
	return flows.Builtin("(unknown)")
}

// end tells who is at an address: a pod that the node's own facts place there
// goes before what the cluster says.
func (n *namer) end(a netip.AddrPort, protocol uint8) flows.End {
	e := flows.End{Kind: "world", Addr: a.Addr(), Port: portOf(a, protocol)}
	bs, _ := n.bindings()
	if i, ok := slices.BinarySearchFunc(bs, e.Addr, func(b facts.Binding, x netip.Addr) int { return b.Addr.Compare(x) }); ok {
		e.Kind, e.Namespace, e.Name = flows.EndKind(0), bs[i].Pod.Namespace, bs[i].Pod.Name
		return e
	}
	if row, ok := n.holding.address(e.Addr); ok {
		e.Kind, e.Namespace, e.Name = flows.EndKind(row.Endpoint), row.Namespace, row.Name
	}
	return e
}
