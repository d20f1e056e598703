package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
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
		return judge.Tables(cluster)
	case "reference":
		return judge.Reference(cluster)
	case "datapath":
		return judge.Datapath(cluster)
	}
	return nil, fmt.Errorf("--judge %q: write tables, reference or datapath", j.name)
}

// makeRuntime returns the chosen judge of processes.
func (j *judgeFlag) makeRuntime(cluster model.Cluster) (judge.Runtime, error) {
	switch j.name {
	case "tables":
		return judge.RuntimeTables(cluster)
	case "reference":
		return judge.RuntimeReference(cluster)
	case "datapath":
		return judge.RuntimeDatapath(cluster)
	}
	return nil, fmt.Errorf("--judge %q: write tables, reference or datapath", j.name)
}
