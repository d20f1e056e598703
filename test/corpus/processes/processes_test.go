package processes_test

import (
	"testing"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
	"palisade.dev/palisade/test/corpus/processes"
)

// judges make a judge of a cluster; what the kernel says is asked elsewhere.
var judges = map[string]func(model.Cluster) (processes.Judge, error){
	"reference": func(c model.Cluster) (processes.Judge, error) {
		return func(who model.EndpointID, container string, op model.Operation) (model.Judgement, error) {
			return reference.JudgeRuntime(c, who, container, op), nil
		}, nil
	},
	"rows": func(c model.Cluster) (processes.Judge, error) {
		compiled, err := judge.Compile(c)
		if err != nil {
			return nil, err
		}
		tables, err := analysis.FromTables(compiled.Nodes, compiled.Common)
		if err != nil {
			return nil, err
		}
		return func(who model.EndpointID, container string, op model.Operation) (model.Judgement, error) {
			c := analysis.Container{Name: container}
			switch who.Kind {
			case model.EndpointNode:
				c.Node = model.NodeName(who.Name)
			case model.EndpointExternal:
				c.Node = model.HostOf(who)
			default:
				c.UID = who.String() // what a pod without a UID gets
			}
			return tables.JudgeRuntime(c, op)
		}, nil
	},
}

func TestProcesses(t *testing.T) {
	scenarios, err := processes.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range judges {
		for _, s := range scenarios {
			t.Run(name+"/"+s.Name, func(t *testing.T) {
				ask, err := make(s.Cluster)
				if err != nil {
					t.Fatal(err)
				}
				wrong, err := s.Check(ask)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range wrong {
					t.Error(w)
				}
			})
		}
	}
}

// TestCheckNotices: an answer that is wrong in verdict, rule or staging is told.
func TestCheckNotices(t *testing.T) {
	scenarios, err := processes.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*model.Judgement){
		"verdict": func(j *model.Judgement) { j.Enforced.Verdict ^= 1 },
		"rule":    func(j *model.Judgement) { j.Enforced.By.Rule += "x" },
		"staged":  func(j *model.Judgement) { j.Staged.Verdict ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range scenarios {
				wrong, err := s.Check(func(who model.EndpointID, container string, op model.Operation) (model.Judgement, error) {
					j := reference.JudgeRuntime(s.Cluster, who, container, op)
					spoil(&j)
					return j, nil
				})
				if err != nil || len(wrong) != len(s.Expect) {
					t.Errorf("%s: %d of %d noticed, %v", s.Name, len(wrong), len(s.Expect), err)
				}
			}
		})
	}
}
