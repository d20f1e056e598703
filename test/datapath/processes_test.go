package datapath_test

import (
	"fmt"
	"slices"
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/nodeagent/layout/runtimetest"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/test/corpus/processes"
)

// TestProcesses asks the kernel everything that the scenarios of rules about processes
// ask the other judges. Command lines are the agent's to judge: what depends on them is
// not asked here.
func TestProcesses(t *testing.T) {
	scenarios, err := processes.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	judged, asked := 0, 0
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			k := newKernelJudge(t, s.Cluster)
			var silent []processes.Expectation
			for _, e := range s.Expect {
				asked++
				if len(e.Operation.Arguments) == 0 {
					silent = append(silent, e)
				}
			}
			judged += len(silent)
			wrong, err := (&processes.Scenario{Name: s.Name, Expect: silent}).Check(k.judge)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range wrong {
				t.Error(w)
			}
		})
	}
	fmt.Printf("the kernel judged %d questions about processes; %d about command lines are the agent's\n", judged, asked-judged)
}

// TestRuntimeDatapath: the judge that palisade explain --judge datapath asks answers as
// the scenarios say. The kernel leaves command lines to the agent.
func TestRuntimeDatapath(t *testing.T) {
	scenarios, err := processes.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			ask, err := judge.RuntimeDatapath(s.Cluster)
			if err != nil {
				t.Fatal(err)
			}
			silent := *s
			silent.Expect = slices.DeleteFunc(slices.Clone(s.Expect), func(e processes.Expectation) bool { return len(e.Operation.Arguments) > 0 })
			wrong, err := silent.CheckTogether(processes.Ask(ask))
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range wrong {
				t.Error(w)
			}
		})
	}
}

// kernelJudge has a trial of the rows of each node.
type kernelJudge struct {
	t      *testing.T
	nodes  map[model.NodeName]*snapshot.Set
	common *snapshot.Set
	trials map[model.NodeName]*datapath.RuntimeTrial
}

func newKernelJudge(t *testing.T, c model.Cluster) *kernelJudge {
	t.Helper()
	compiled, err := judge.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return &kernelJudge{t, compiled.Nodes, compiled.Common, map[model.NodeName]*datapath.RuntimeTrial{}}
}

// find finds the node of an endpoint, and by what UID it knows it.
func (k *kernelJudge) find(who model.EndpointID) (model.NodeName, string, error) {
	if who.Kind == model.EndpointNode {
		return model.NodeName(who.Name), snapshot.RuntimeNodeUID, nil
	}
	if who.Kind == model.EndpointExternal {
		return model.HostOf(who), snapshot.RuntimeNodeUID, nil
	}
	uid := who.String() // what a pod without a UID gets
	for name, set := range k.nodes {
		rows, err := set.Rows()
		if err != nil {
			return "", "", err
		}
		for _, row := range rows {
			switch r := row.(type) {
			case snapshot.LocalRow:
				if r.UID == uid {
					return name, uid, nil
				}
			case snapshot.RuntimePodRow:
				if r.UID == uid {
					return name, uid, nil
				}
			}
		}
	}
	return "", "", fmt.Errorf("no node hosts %s", who)
}

func (k *kernelJudge) trial(name model.NodeName) (*datapath.RuntimeTrial, error) {
	if t := k.trials[name]; t != nil {
		return t, nil
	}
	set := k.nodes[name]
	if set == nil {
		return nil, fmt.Errorf("no rows of node %q", name)
	}
	t, err := datapath.NewRuntimeTrial(datapath.TrialOptions{Questions: 1, Layout: layout.Options{Unbound: layout.UnboundAllow}})
	if err != nil {
		return nil, err
	}
	k.t.Cleanup(func() { t.Close() })
	k.trials[name] = t
	all := snapshot.Diff(snapshot.NewSet(), snapshot.Union(set, k.common))
	_, err = t.Apply(k.t.Context(), layout.Update{Full: true, Delta: all})
	return t, err
}

func (k *kernelJudge) judge(who model.EndpointID, container string, op model.Operation) (model.Judgement, error) {
	name, uid, err := k.find(who)
	if err != nil {
		return model.Judgement{}, err
	}
	trial, err := k.trial(name)
	if err != nil {
		return model.Judgement{}, err
	}
	question := runtimetest.Question(trial.Layout(), uid, container, rowtest.Operation{
		Section: uint8(op.Section), Operations: op.Bits, Origin: uint8(op.Origin), Owns: op.Owned, Mapping: op.Mapping,
		Directory: op.Directory, Unresolvable: op.Unresolvable, Capabilities: 1 << op.Capability, Path: op.Path,
		Chain: append([]string{op.Executable}, op.Ancestry...), Overflow: op.DeepAncestry,
		Addr: op.Address, Proto: uint8(op.Proto), Port: uint16(op.Port),
	})
	outcome := make([]bpf.RuntimeOutcome, 1)
	if err := trial.Ask(0, []bpf.RuntimeQuestion{question}); err != nil {
		return model.Judgement{}, err
	}
	if err := trial.Run(0, 1); err != nil {
		return model.Judgement{}, err
	}
	if err := trial.Outcomes(0, outcome); err != nil {
		return model.Judgement{}, err
	}
	if outcome[0].Subject < 1 {
		d := model.Decision{Verdict: model.Allow, By: model.Builtin(model.RuleDefault)}
		return model.Judgement{Enforced: d, Staged: d}, nil
	}
	a := outcome[0].Answer
	return model.Judgement{Enforced: decisionOf(trial.Layout(), a.Enforced), Staged: decisionOf(trial.Layout(), a.Staged)}, nil
}

func decisionOf(l *layout.Layout, word uint64) model.Decision {
	_, flags, slot := bpf.RuntimeWordParts(word)
	row, _ := l.Rule(slot)
	d := model.Decision{Verdict: model.Allow, By: model.RuleRef{
		Tier:   model.Tier(row.Tier),
		Policy: model.PolicyRef{Kind: model.PolicyKind(row.PolicyKind), Namespace: row.Namespace, Name: row.Policy},
		Rule:   row.Rule,
	}}
	switch {
	case flags&bpf.RuntimeKill != 0:
		d.Verdict = model.Kill
	case flags&bpf.RuntimeDeny != 0:
		d.Verdict = model.Deny
	}
	return d
}
