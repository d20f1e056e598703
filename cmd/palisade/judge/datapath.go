package judge

import (
	"fmt"
	"net/netip"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// Datapath makes the judge that is this machine's kernel: every node's rows are
// laid out in tables of their own, attached to nothing, and the verdict program
// is asked by test-run, egress as the client's node and ingress as the server's.
// For what no node hosts, external workloads and pods that are not scheduled, a
// stand-in is asked: what an agent on it would enforce.
func Datapath(cluster model.Cluster) (analysis.Judge, error) {
	c, err := Compile(cluster)
	if err != nil {
		return nil, err
	}
	return c.Datapath()
}

// Datapath makes the judge that is this machine's kernel with these rows.
func (c *Compiled) Datapath() (analysis.Judge, error) {
	if err := standIn(c); err != nil {
		return nil, err
	}
	h, err := readHosts(c)
	if err != nil {
		return nil, err
	}
	return func(conns []model.Connection) ([]model.Outcome, error) { return askKernel(c, h, conns) }, nil
}

// standInName is no name that a node can have.
const standInName = "(none)"

// standIn makes a node of the rows about what no node hosts. The kernel knows
// its own endpoints by their UID, which only pods have, so there external
// workloads pass for pods.
func standIn(c *Compiled) error {
	rows := c.Nodes[""]
	if rows == nil {
		return nil
	}
	own, common := snapshot.NewSet(rows.Entries()...), snapshot.NewSet(c.Common.Entries()...)
	own.Put(snapshot.Encode(snapshot.MetaRow{Node: standInName}))
	addresses, err := c.Common.Rows()
	if err != nil {
		return fmt.Errorf("common rows: %w", err)
	}
	for _, row := range addresses {
		a, ok := row.(snapshot.AddressRow)
		if !ok || model.EndpointKind(a.Endpoint) != model.EndpointExternal {
			continue
		}
		a.Endpoint = uint8(model.EndpointPod)
		a.UID = "external workload " + a.Namespace + "/" + a.Name
		common.Put(snapshot.Encode(a))
		own.Put(snapshot.Encode(snapshot.LocalRow{UID: a.UID, Kind: a.Kind, Namespace: a.Namespace, Name: a.Name}))
	}
	delete(c.Nodes, "")
	c.Nodes[standInName], c.Common = own, common
	return nil
}

// hosts says which node hosts the endpoint that has an address, and what the
// rules of all nodes are called.
type hosts struct {
	byAddress map[netip.Addr]model.NodeName
	rules     map[snapshot.RuleID]model.RuleRef
}

func readHosts(c *Compiled) (*hosts, error) {
	h := &hosts{byAddress: map[netip.Addr]model.NodeName{}, rules: map[snapshot.RuleID]model.RuleRef{}}
	byUID := map[string]model.NodeName{}
	for name, own := range c.Nodes {
		rows, err := own.Rows()
		if err != nil {
			return nil, fmt.Errorf("rows of node %q: %w", name, err)
		}
		for _, row := range rows {
			switch r := row.(type) {
			case snapshot.LocalRow:
				byUID[r.UID] = name
			case snapshot.RuleRow:
				h.rules[r.ID] = model.RuleRef{
					Tier:   model.Tier(r.Tier),
					Policy: model.PolicyRef{Kind: model.PolicyKind(r.PolicyKind), Namespace: r.Namespace, Name: r.Policy},
					Rule:   r.Rule,
				}
			}
		}
	}
	rows, err := c.Common.Rows()
	if err != nil {
		return nil, fmt.Errorf("common rows: %w", err)
	}
	for _, row := range rows {
		a, ok := row.(snapshot.AddressRow)
		switch {
		case !ok:
		case model.EndpointKind(a.Endpoint) == model.EndpointNode:
			h.byAddress[a.Addr] = model.NodeName(a.Name)
		case a.UID != "":
			if name, ok := byUID[a.UID]; ok {
				h.byAddress[a.Addr] = name
			}
		}
	}
	return h, nil
}

// asked is a connection that a node is asked about, for one or both directions.
type asked struct {
	place           int // in the list of questions
	egress, ingress bool
}

func askKernel(c *Compiled, h *hosts, conns []model.Connection) ([]model.Outcome, error) {
	nobody := model.Decision{Verdict: model.Allow, By: model.Builtin(model.RuleNobody)}
	out := make([]model.Outcome, len(conns))
	byNode := map[model.NodeName][]asked{}
	for i, conn := range conns {
		out[i].Egress = model.Judgement{Enforced: nobody, Staged: nobody}
		out[i].Ingress = out[i].Egress
		from, fromKnown := h.byAddress[conn.From]
		to, toKnown := h.byAddress[conn.To]
		switch {
		case fromKnown && toKnown && from == to:
			byNode[from] = append(byNode[from], asked{i, true, true})
		default:
			if fromKnown {
				byNode[from] = append(byNode[from], asked{i, true, false})
			}
			if toKnown {
				byNode[to] = append(byNode[to], asked{i, false, true})
			}
		}
	}
	for name, list := range byNode {
		own := c.Nodes[name]
		if own == nil {
			return nil, fmt.Errorf("node %q has no rows", name)
		}
		questions := make([]datapath.Connection, len(list))
		for i, a := range list {
			conn := conns[a.place]
			questions[i] = datapath.Connection{From: conn.From, To: conn.To, Protocol: uint8(conn.Proto), Port: uint16(conn.Port)}
		}
		answers, err := datapath.JudgeSnapshot(own, c.Common, nil, questions)
		if err != nil {
			return nil, fmt.Errorf("datapath of node %q: %w", name, err)
		}
		for i, a := range list {
			if a.egress {
				out[a.place].Egress, err = h.judgement(answers[i].Egress)
			}
			if a.ingress && err == nil {
				out[a.place].Ingress, err = h.judgement(answers[i].Ingress)
			}
			if err != nil {
				return nil, fmt.Errorf("datapath of node %q: %w", name, err)
			}
		}
	}
	return out, nil
}

func (h *hosts) judgement(j datapath.Judgement) (model.Judgement, error) {
	enforced, err := h.decision(j.Enforced)
	if err != nil {
		return model.Judgement{}, err
	}
	staged, err := h.decision(j.Staged)
	return model.Judgement{Enforced: enforced, Staged: staged}, err
}

func (h *hosts) decision(d datapath.Decision) (model.Decision, error) {
	out := model.Decision{Verdict: model.Allow, Log: d.Log}
	if d.Deny {
		out.Verdict = model.Deny
	}
	if d.Builtin != "" {
		out.By = model.Builtin(d.Builtin)
		return out, nil
	}
	by, ok := h.rules[d.Rule]
	if !ok {
		return out, fmt.Errorf("it names rule %x, which no row describes", d.Rule)
	}
	out.By = by
	return out, nil
}
