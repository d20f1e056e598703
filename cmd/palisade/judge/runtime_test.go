package judge_test

import (
	"os"
	"testing"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/test/corpus/processes"
)

// TestRuntimeJudges: all of them answer as the scenarios say. The kernel leaves
// arguments to the agent.
func TestRuntimeJudges(t *testing.T) {
	scenarios, err := processes.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(model.Cluster) (judge.Runtime, error){
		"reference": judge.RuntimeReference, "tables": judge.RuntimeTables, "datapath": judge.RuntimeDatapath,
	} {
		for _, s := range scenarios {
			t.Run(name+"/"+s.Name, func(t *testing.T) {
				if name == "datapath" && os.Geteuid() != 0 {
					t.Skip("needs root")
				}
				ask, err := make(s.Cluster)
				if err != nil {
					t.Fatal(err)
				}
				type actor struct {
					id        model.EndpointID
					container string
				}
				asked := map[actor][]processes.Expectation{}
				for _, e := range s.Expect {
					if name != "datapath" || len(e.Operation.Arguments) == 0 {
						who := actor{e.Who, e.Container}
						asked[who] = append(asked[who], e)
					}
				}
				for who, expected := range asked {
					operations := []model.Operation{}
					for _, e := range expected {
						operations = append(operations, e.Operation)
					}
					have, err := ask(endpoint(t, s.Cluster, who.id), who.container, operations)
					if err != nil || len(have) != len(expected) {
						t.Fatalf("%v: %d answers to %d questions, %v", who, len(have), len(expected), err)
					}
					for i, e := range expected {
						if have[i] != e.Want {
							t.Errorf("expect:%d: %s: have %+v", e.Line, e.Text, have[i])
						}
					}
				}
			})
		}
	}
}

func endpoint(t *testing.T, c model.Cluster, id model.EndpointID) model.Endpoint {
	for _, e := range c.Endpoints {
		if e.ID == id {
			return e
		}
	}
	t.Fatalf("no endpoint %v", id)
	return model.Endpoint{}
}
