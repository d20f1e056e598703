package corpus

import (
	"errors"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
	"palisade.dev/palisade/snapshot"
)

// Reference makes the judge that is right by definition.
func Reference(c model.Cluster) (analysis.Judge, error) {
	return func(conns []model.Connection) ([]model.Outcome, error) {
		out := make([]model.Outcome, len(conns))
		for i, conn := range conns {
			out[i] = reference.Judge(c, conn)
		}
		return out, nil
	}, nil
}

// Tables makes the judge that a perfect agent would be, from compiled rows.
func Tables(c model.Cluster) (analysis.Judge, error) {
	own, common, err := Compile(c)
	if err != nil {
		return nil, err
	}
	tables, err := analysis.FromTables(own, common)
	if err != nil {
		return nil, err
	}
	return tables.JudgeAll, nil
}

// Compile compiles a cluster of which every policy must fit: each node's own
// rows, and those common to all.
func Compile(c model.Cluster) (own map[model.NodeName]*snapshot.Set, common *snapshot.Set, err error) {
	compiler := compile.Full(c, compile.Options{})
	var errs []error
	for _, r := range compiler.Refusals() {
		errs = append(errs, &r)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	own = map[model.NodeName]*snapshot.Set{}
	for _, name := range compiler.NodeNames() {
		own[name] = compiler.Node(name)
	}
	return own, compiler.Common(), nil
}
