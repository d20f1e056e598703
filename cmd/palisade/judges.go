package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
)

// judgeFlag chooses who answers.
type judgeFlag struct{ name string }

func (j *judgeFlag) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&j.name, "judge", "tables", "who judges: tables (the compiled rows), reference (the slow evaluator) or datapath (this machine's kernel, by test-run; needs root)")
}

// make returns the chosen judge for a cluster.
func (j *judgeFlag) make(cluster model.Cluster) (analysis.Judge, error) {
	switch j.name {
	case "tables":
		return tablesJudge(cluster)
	case "reference":
		return referenceJudge(cluster), nil
	case "datapath":
		return datapathJudge(cluster)
	}
	return nil, fmt.Errorf("--judge %q: write tables, reference or datapath", j.name)
}

func referenceJudge(cluster model.Cluster) analysis.Judge {
	return func(conns []model.Connection) ([]model.Outcome, error) {
		out := make([]model.Outcome, len(conns))
		for i, c := range conns {
			out[i] = reference.Judge(cluster, c)
		}
		return out, nil
	}
}

func tablesJudge(cluster model.Cluster) (analysis.Judge, error) {
	c, err := compileCluster(cluster)
	if err != nil {
		return nil, err
	}
	tables, err := analysis.FromTables(c.nodes, c.common)
	if err != nil {
		return nil, err
	}
	return tables.JudgeAll, nil
}

// refused says which policies do not fit, a line each.
func refused(reasons []string) error {
	if len(reasons) == 0 {
		return nil
	}
	return errors.New(strings.Join(reasons, "\n"))
}

// datapathJudge asks this machine's kernel.
func datapathJudge(model.Cluster) (analysis.Judge, error) {
	return nil, errors.New("--judge datapath: this build cannot load the BPF programs")
}
