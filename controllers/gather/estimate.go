package gather

import (
	"context"
	"errors"
	"fmt"

	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// Cost is what a policy would cost the node that it costs most.
type Cost struct {
	Rows    int // that the policy adds to the node
	Budget  int // what the node has left without it
	Refused string
}

// ErrNotCompiled: what exists has not been compiled yet, so nothing can be
// estimated.
var ErrNotCompiled = errors.New("the cluster is not compiled yet")

// Estimate compiles a policy together with everything else, takes it back, and
// says what it would have cost. It works on the compiler that publishes: a copy
// of a whole cluster would cost more than any policy. So it waits for its turn
// between batches, as long as the context allows.
func (e *Engine) Estimate(ctx context.Context, p model.Policy) (Cost, error) {
	e.init()
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return Cost{}, fmt.Errorf("estimate of %s: %w", p.Ref, ctx.Err())
	}
	if err := ctx.Err(); err != nil {
		return Cost{}, fmt.Errorf("estimate of %s: %w", p.Ref, err)
	}
	if !e.Ready() {
		return Cost{}, fmt.Errorf("estimate of %s: %w", p.Ref, ErrNotCompiled)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	before := map[model.NodeName]int{}
	for _, n := range e.compiler.NodeNames() {
		before[n] = e.compiler.Node(n).Len()
	}
	e.compiler.PutPolicy(p, compile.Candidate)
	changes := e.compiler.Commit()
	cost := e.cost(p.Ref, &changes, before)
	e.putInForce(p.Ref, e.policies[p.Ref])
	e.owe(changes, e.compiler.Commit())
	return cost, nil
}

// cost looks at what a policy changed.
func (e *Engine) cost(ref model.PolicyRef, changes *compile.Changes, before map[model.NodeName]int) Cost {
	most := e.Options.CellsPerNode
	if most == 0 {
		most = compile.DefaultCellsPerNode
	}
	out := Cost{Budget: most}
	for n := range changes.Nodes {
		if set := e.compiler.Node(n); set != nil && set.Len()-before[n] >= out.Rows {
			out.Rows, out.Budget = set.Len()-before[n], max(0, most-before[n])
		}
	}
	for _, r := range changes.Refused {
		if r.Policy == ref {
			out.Refused = r.Error()
		}
	}
	return out
}

// owe keeps what two commits changed for the next batch to publish, unless they
// cancel out, as they should: the store then holds what the compiler does.
func (e *Engine) owe(there, back compile.Changes) {
	m := e.pending()
	m.add(there)
	m.add(back)
	if len(m.gone) == 0 && e.published() {
		return
	}
	e.owed = m
	e.queue.mark(key{kind: kindServices})
}

// published reports whether the store holds what the compiler does.
func (e *Engine) published() bool {
	digests := e.Store.Digests()
	for _, n := range e.compiler.NodeNames() {
		if n == "" {
			continue // nobody's, and never published
		}
		if digests[n] != e.compiler.Digest(n) {
			return false
		}
		delete(digests, n)
	}
	return len(digests) == 0
}
