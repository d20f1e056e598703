// Package judge puts the three judges that answer on one machine behind one
// function: the reference evaluator, the compiled tables, and the kernel's
// program by test-run.
package judge

import (
	"errors"
	"time"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
	"palisade.dev/palisade/snapshot"
)

// Compiled is what compiling a cluster gives: rows common to all nodes, and each
// node's own.
type Compiled struct {
	Common  *snapshot.Set
	Nodes   map[model.NodeName]*snapshot.Set
	Refused []compile.Refusal // policies that do not fit, and for which something stands in
}

// Compile compiles a cluster. A policy that does not fit is an error: on a
// cluster the rest would be enforced without it, and an answer that leaves it
// out would mislead.
func Compile(cluster model.Cluster) (*Compiled, error) {
	c := compiledBy(compile.Full(cluster, compile.Options{}))
	var errs []error
	for _, r := range c.Refused {
		errs = append(errs, &r)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// CompileAccepted compiles the policies that a controller has accepted, as it does:
// of those that do not fit together the newest gives way to a stand-in.
func CompileAccepted(cluster model.Cluster, at map[model.PolicyRef]time.Time) *Compiled {
	order := func(ref model.PolicyRef) compile.Order { return compile.Order(at[ref].Unix()) }
	return compiledBy(compile.Ordered(cluster, order, compile.Options{}))
}

func compiledBy(c *compile.Compiler) *Compiled {
	out := &Compiled{Common: c.Common(), Nodes: map[model.NodeName]*snapshot.Set{}, Refused: c.Refusals()}
	for _, name := range c.NodeNames() {
		out.Nodes[name] = c.Node(name)
	}
	return out
}

// Reference makes the judge that is right by definition.
func Reference(cluster model.Cluster) (analysis.Judge, error) {
	return func(conns []model.Connection) ([]model.Outcome, error) {
		out := make([]model.Outcome, len(conns))
		for i, c := range conns {
			out[i] = reference.Judge(cluster, c)
		}
		return out, nil
	}, nil
}

// Tables makes the judge that a perfect agent would be.
func Tables(cluster model.Cluster) (analysis.Judge, error) {
	c, err := Compile(cluster)
	if err != nil {
		return nil, err
	}
	return c.Tables()
}

// Tables makes the judge that perfect agents would be.
func (c *Compiled) Tables() (analysis.Judge, error) {
	tables, err := analysis.FromTables(c.Nodes, c.Common)
	if err != nil {
		return nil, err
	}
	return tables.JudgeAll, nil
}
