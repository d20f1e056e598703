package main

import (
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/compile"
)

// judgeFlag chooses who answers.
type judgeFlag struct{ name string }

func (j *judgeFlag) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&j.name, "judge", "tables", "who judges: tables (the compiled rows), reference (the slow evaluator) or datapath (this machine's kernel, by test-run; needs root)")
}

// compileWorld compiles what nodes enforce. Of manifests, what does not fit is an
// error. Of a live cluster nodes enforce something all the same, which is then
// compiled, and told.
func compileWorld(world *manifests.World, stderr io.Writer) (*judge.Compiled, error) {
	if world.AcceptedAt == nil {
		return judge.Compile(world.Cluster)
	}
	c := judge.CompileAccepted(world.Cluster, world.AcceptedAt)
	for _, r := range c.Refused {
		fmt.Fprintf(stderr, "palisade: warning: %s; judged as nodes do, where rule %s stands in for it\n", r.Error(), compile.RuleOverCapacity)
	}
	return c, nil
}

// make returns the chosen judge for a cluster.
func (j *judgeFlag) make(world *manifests.World, stderr io.Writer) (analysis.Judge, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	if j.name == "reference" {
		return judge.Reference(world.Cluster)
	}
	c, err := compileWorld(world, stderr)
	if err != nil {
		return nil, err
	}
	if j.name == "datapath" {
		return c.Datapath()
	}
	return c.Tables()
}

// makeRuntime returns the chosen judge of processes.
func (j *judgeFlag) makeRuntime(world *manifests.World, stderr io.Writer) (judge.Runtime, error) {
	if err := j.check(); err != nil {
		return nil, err
	}
	if j.name == "reference" {
		return judge.RuntimeReference(world.Cluster)
	}
	c, err := compileWorld(world, stderr)
	if err != nil {
		return nil, err
	}
	if j.name == "datapath" {
		return c.RuntimeDatapath()
	}
	return c.RuntimeTables()
}

func (j *judgeFlag) check() error {
	switch j.name {
	case "tables", "reference", "datapath":
		return nil
	}
	return fmt.Errorf("--judge %q: write tables, reference or datapath", j.name)
}
