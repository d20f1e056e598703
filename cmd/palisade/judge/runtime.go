package judge

import (
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
)

// Runtime answers operations of processes in a container of a pod, or of a host's own,
// whose container has no name: a node, or an external workload that has a host.
type Runtime func(who model.Endpoint, container string, operations []model.Operation) ([]model.Judgement, error)

// RuntimeReference makes the judge that is right by definition.
func RuntimeReference(cluster model.Cluster) (Runtime, error) {
	return func(who model.Endpoint, container string, operations []model.Operation) ([]model.Judgement, error) {
		out := make([]model.Judgement, len(operations))
		for i, op := range operations {
			out[i] = reference.JudgeRuntime(cluster, who.ID, container, op)
		}
		return out, nil
	}, nil
}

// RuntimeTables makes the judge that a perfect agent would be.
func RuntimeTables(cluster model.Cluster) (Runtime, error) {
	c, err := Compile(cluster)
	if err != nil {
		return nil, err
	}
	return c.RuntimeTables()
}

// RuntimeTables makes the judge that perfect agents would be.
func (c *Compiled) RuntimeTables() (Runtime, error) {
	tables, err := analysis.FromTables(c.Nodes, c.Common)
	if err != nil {
		return nil, err
	}
	return func(who model.Endpoint, container string, operations []model.Operation) ([]model.Judgement, error) {
		out := make([]model.Judgement, len(operations))
		for i, op := range operations {
			if out[i], err = tables.JudgeRuntime(analysis.Container{Node: who.Node, UID: string(who.UID), Name: container}, op); err != nil {
				return nil, err
			}
		}
		return out, nil
	}, nil
}
