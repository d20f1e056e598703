package corpus_test

import (
	"testing"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
	"palisade.dev/palisade/test/corpus"
)

// judges are those that need nothing but the scenario.
var judges = map[string]corpus.Maker{
	"reference": func(c model.Cluster) (analysis.Judge, error) {
		return func(conns []model.Connection) ([]model.Outcome, error) {
			out := make([]model.Outcome, len(conns))
			for i, conn := range conns {
				out[i] = reference.Judge(c, conn)
			}
			return out, nil
		}, nil
	},
}

func TestCorpus(t *testing.T) {
	scenarios, err := corpus.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(scenarios) < 40 {
		t.Fatalf("only %d scenarios", len(scenarios))
	}
	for name, make := range judges {
		t.Run(name, func(t *testing.T) {
			for _, s := range scenarios {
				t.Run(s.Name, func(t *testing.T) {
					judge, err := make(s.Cluster)
					if err != nil {
						t.Fatal(err)
					}
					wrong, err := s.Check(judge)
					if err != nil {
						t.Fatal(err)
					}
					for _, w := range wrong {
						t.Error(w)
					}
				})
			}
		})
	}
}
