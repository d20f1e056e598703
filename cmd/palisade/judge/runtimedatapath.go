package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// RuntimeDatapath makes the judge that is this machine's kernel: the rows of the
// node that hosts who acts are laid out in tables of their own, attached to
// nothing, and the code that the hooks match by is asked by test-run.
func RuntimeDatapath(cluster model.Cluster) (Runtime, error) {
	c, err := Compile(cluster)
	if err != nil {
		return nil, err
	}
	return c.RuntimeDatapath()
}

// RuntimeDatapath makes the judge that is this machine's kernel with these rows.
func (c *Compiled) RuntimeDatapath() (Runtime, error) {
	if err := standIn(c); err != nil {
		return nil, err
	}
	h, err := readHosts(c)
	if err != nil {
		return nil, err
	}
	return func(who model.Endpoint, container string, operations []model.Operation) ([]model.Judgement, error) {
		node := cmp.Or(who.Node, standInName)
		own := c.Nodes[node]
		if own == nil {
			return nil, fmt.Errorf("node %q has no rows", node)
		}
		out, err := askHooks(h, snapshot.Diff(snapshot.NewSet(), snapshot.Union(own, c.Common)), who, container, operations)
		if err != nil {
			return nil, fmt.Errorf("datapath of node %q: %w", node, err)
		}
		return out, nil
	}, nil
}

func askHooks(h *hosts, rows snapshot.Delta, who model.Endpoint, container string, operations []model.Operation) (out []model.Judgement, err error) {
	trial, err := datapath.NewRuntimeTrial(datapath.TrialOptions{
		Questions: max(len(operations), 1), Layout: layout.Options{Unbound: layout.UnboundAllow},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, trial.Close()) }()
	if _, err := trial.Apply(context.Background(), layout.Update{Full: true, Delta: rows}); err != nil {
		return nil, err
	}
	questions := make([]bpf.RuntimeQuestion, len(operations))
	for i, op := range operations {
		if questions[i], err = runtimeQuestion(trial.Layout(), who, container, op); err != nil {
			return nil, err
		}
	}
	outcomes := make([]bpf.RuntimeOutcome, len(operations))
	if err := errors.Join(trial.Ask(0, questions), trial.Run(0, len(questions)), trial.Outcomes(0, outcomes)); err != nil {
		return nil, err
	}
	for _, o := range outcomes {
		j, err := h.runtimeJudgement(trial.Layout(), o)
		if err != nil {
			return nil, err
		}
		out = append(out, j)
	}
	return out, nil
}

// runtimeQuestion puts an operation as the kernel's code takes it.
func runtimeQuestion(l *layout.Layout, who model.Endpoint, container string, op model.Operation) (bpf.RuntimeQuestion, error) {
	chain := append([]string{op.Executable}, op.Ancestry...)
	q := bpf.RuntimeQuestion{
		Container: runtimeContainer(who, container),
		Query: bpf.RuntimeQuery{
			Section: uint8(op.Section), Operations: op.Bits, Origin: uint8(op.Origin), Owner: snapshot.OwnerNot,
			Capabilities: 1 << op.Capability, Protocol: uint8(op.Proto), Port: uint16(op.Port),
		},
	}
	if len(chain) > len(q.Chain.Executable) {
		return q, fmt.Errorf("%d executables: the kernel remembers %d of a process", len(chain), len(q.Chain.Executable))
	}
	if op.Owned {
		q.Query.Owner = snapshot.OwnerOnly
	}
	for _, f := range []struct {
		flag uint8
		on   bool
	}{{bpf.RuntimeMapping, op.Mapping}, {bpf.RuntimeDirectory, op.Directory}, {bpf.RuntimeUnresolvable, op.Unresolvable}} {
		if f.on {
			q.Query.Flags |= f.flag
		}
	}
	if op.Address.IsValid() {
		q.Query.Address, q.Query.Family = layout.KeyOf(op.Address), bpf.FamilyIPv6
		if op.Address.Is4() {
			q.Query.Family = bpf.FamilyIPv4
		}
	}
	q.Chain.Count = uint32(len(chain))
	for i, path := range chain {
		q.Chain.Executable[i] = l.Fingerprint(path)
	}
	if op.DeepAncestry {
		q.Chain.Flags = bpf.RuntimeChainOverflow
	}
	if !op.Unresolvable {
		q.Path.Length = uint32(copy(q.Path.Bytes[:], op.Path))
	}
	return q, nil
}

// runtimeContainer names a container as the kernel's own records do.
func runtimeContainer(who model.Endpoint, container string) bpf.RuntimeContainer {
	uid := string(who.UID)
	if who.ID.Kind != model.EndpointPod {
		uid = snapshot.RuntimeNodeUID
	}
	key := layout.PodKey(uid)
	out := bpf.RuntimeContainer{UIDHigh: key.High, UIDLow: key.Low, Name: layout.ContainerName(container)}
	if container == model.PauseContainer {
		out.Name = bpf.RuntimeNameSandbox
	}
	return out
}

// runtimeJudgement reads an answer. Of a container that no rule is about the
// kernel asks no further.
func (h *hosts) runtimeJudgement(l *layout.Layout, o bpf.RuntimeOutcome) (model.Judgement, error) {
	if o.Subject <= 0 {
		d := model.Decision{Verdict: model.Allow, By: model.Builtin(model.RuleDefault)}
		return model.Judgement{Enforced: d, Staged: d}, nil
	}
	enforced, err := h.runtimeDecision(l, o.Answer.Enforced)
	if err != nil {
		return model.Judgement{}, err
	}
	staged, err := h.runtimeDecision(l, o.Answer.Staged)
	return model.Judgement{Enforced: enforced, Staged: staged}, err
}

func (h *hosts) runtimeDecision(l *layout.Layout, word uint64) (model.Decision, error) {
	_, flags, slot := bpf.RuntimeWordParts(word)
	row, ok := l.Rule(slot)
	by := h.rules[row.ID]
	if !ok || by == (model.RuleRef{}) {
		return model.Decision{}, fmt.Errorf("it names the rule in slot %d, which no row describes", slot)
	}
	d := model.Decision{Verdict: model.Allow, By: by}
	switch {
	case flags&bpf.RuntimeKill != 0:
		d.Verdict = model.Kill
	case flags&bpf.RuntimeDeny != 0:
		d.Verdict = model.Deny
	}
	return d, nil
}
