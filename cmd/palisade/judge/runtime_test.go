package judge_test

import (
	"testing"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/test/corpus/processes"
)

// TestRuntimeJudges: both answer as the scenarios say. The third, the kernel, needs
// root: test/datapath asks it.
func TestRuntimeJudges(t *testing.T) {
	scenarios, err := processes.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(model.Cluster) (judge.Runtime, error){
		"reference": judge.RuntimeReference, "tables": judge.RuntimeTables,
	} {
		for _, s := range scenarios {
			t.Run(name+"/"+s.Name, func(t *testing.T) {
				ask, err := make(s.Cluster)
				if err != nil {
					t.Fatal(err)
				}
				wrong, err := s.CheckTogether(processes.Ask(ask))
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
