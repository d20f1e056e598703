package datapath_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/test/corpus"
	"palisade.dev/palisade/test/corpus/random"
)

func TestCorpus(t *testing.T) {
	scenarios, err := corpus.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		t.Run(s.Name, func(t *testing.T) {
			ask, err := judge.Datapath(s.Cluster)
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

// The kernel agrees with the reference on clusters that nobody chose.
func TestRandom(t *testing.T) {
	const connections = 200
	clusters, full := 60, 2000
	switch {
	case os.Getenv("PALISADE_FULL") != "":
		clusters = full
	case os.Getenv("PALISADE_FAST") != "":
		clusters = 20
	}
	checks := flag.Lookup("rapid.checks")
	old := checks.Value.String()
	if err := checks.Value.Set(fmt.Sprint(clusters)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = checks.Value.Set(old) }()

	rapid.Check(t, func(t *rapid.T) {
		cluster := random.Cluster(t)
		conns := random.Connections(t, cluster, connections)
		want := answers(t, judge.Reference, cluster, conns)
		have := answers(t, judge.Datapath, cluster, conns)
		for i, c := range conns {
			if have[i] != want[i] {
				t.Fatalf("%s -> %s protocol %d port %d\n  reference %s\n  datapath  %s",
					c.From, c.To, c.Proto, c.Port, corpus.Describe(want[i]), corpus.Describe(have[i]))
			}
		}
	})
	fmt.Printf("ran %d of %d random clusters in the kernel, %d connections each\n", clusters, full, connections)
}

func answers(t *rapid.T, make func(model.Cluster) (analysis.Judge, error), c model.Cluster, conns []model.Connection) []model.Outcome {
	ask, err := make(c)
	if err != nil {
		t.Fatal(err)
	}
	out, err := ask(conns)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
