package webhooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/types"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// builtin is a function that rules may call as palisade.NAME. Its arguments and
// its result are what encoding/json makes of them.
type builtin struct {
	name  string
	doc   string
	arity int
	call  func(ctx context.Context, s *session, args []json.RawMessage) (any, error)
}

var builtins = []builtin{
	{
		name:  "palisade.clusterwide",
		doc:   "the ClusterwidePolicy objects of a tier and priority: [{name, subject, connections}]",
		arity: 2,
		call:  callClusterwide,
	},
	{
		name:  "palisade.overlap",
		doc:   "whether two subjects of ClusterwidePolicy objects may select one endpoint, now or later",
		arity: 2,
		call:  callOverlap,
	},
	{
		name:  "palisade.namespaces",
		doc:   "the names of the namespaces that a subject of a ClusterwidePolicy selects pods of, by the labels that they have now",
		arity: 1,
		call:  callNamespaces,
	},
	{
		name:  "palisade.linked",
		doc:   "where a path leads in images where directories such as /bin are links: {link, path}; {} for a path in none of them",
		arity: 1,
		call:  callLinked,
	},
	{
		name:  "palisade.estimate",
		doc:   "what a policy costs once compiled: {entries, budget, refused}",
		arity: 2,
		call:  callEstimate,
	},
	{
		name:  "palisade.cut",
		doc:   "what the policy system needs, connections and acts, and a policy newly denies: [{what, direction, rule, policy}]",
		arity: 2,
		call:  callCut,
	},
}

func (b builtin) function() *rego.Function {
	args := make([]types.Type, b.arity)
	for i := range args {
		args[i] = types.A
	}
	return &rego.Function{
		Name:        b.name,
		Description: b.doc,
		Decl:        types.NewFunction(args, types.A),
		Memoize:     true,
	}
}

func (b builtin) declaration() *ast.Builtin {
	f := b.function()
	return &ast.Builtin{Name: f.Name, Description: f.Description, Decl: f.Decl}
}

func (b builtin) implementation() func(*rego.Rego) {
	return rego.FunctionDyn(b.function(), func(bctx rego.BuiltinContext, terms []*ast.Term) (*ast.Term, error) {
		s, ok := bctx.Context.Value(sessionKey{}).(*session)
		if !ok {
			return nil, errors.New("no cluster to ask")
		}
		args := make([]json.RawMessage, b.arity)
		for i := range args {
			value, err := ast.JSON(terms[i].Value)
			if err != nil {
				return nil, fmt.Errorf("argument %d: %w", i, err)
			}
			if args[i], err = json.Marshal(value); err != nil {
				return nil, fmt.Errorf("argument %d: %w", i, err)
			}
		}
		result, err := b.call(bctx.Context, s, args)
		if err != nil {
			return nil, err
		}
		raw, err := json.Marshal(result)
		if err != nil {
			return nil, err
		}
		value, err := ast.ValueFromReader(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		return ast.NewTerm(value), nil
	})
}

// session is what one request asks the cluster through. It asks for each fact
// once, so that all rules see the same.
type session struct {
	facts     Facts
	estimator Estimator
	now       func() time.Time

	system     fact[System]
	namespaces fact[[]model.Namespace]

	notes []string // what was not looked at; queries of a request run one after the other
}

// note keeps, once, what a rule could not look at.
func (s *session) note(text string) {
	if !slices.Contains(s.notes, text) {
		s.notes = append(s.notes, text)
	}
}

type sessionKey struct{}

func withSession(ctx context.Context, s *session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// fact is what the cluster said when it was asked, once.
type fact[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (f *fact[T]) load(ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	f.once.Do(func() { f.value, f.err = ask(ctx) })
	return f.value, f.err
}

func (s *session) loadSystem(ctx context.Context) (System, error) {
	return s.system.load(ctx, s.facts.System)
}

func (s *session) loadNamespaces(ctx context.Context) ([]model.Namespace, error) {
	return s.namespaces.load(ctx, s.facts.Namespaces)
}

func callClusterwide(ctx context.Context, s *session, args []json.RawMessage) (any, error) {
	var tier v1alpha1.Tier
	var priority int32
	if err := decode(args, &tier, &priority); err != nil {
		return nil, err
	}
	policies, err := s.facts.Clusterwide(ctx, tier, priority)
	if err != nil {
		return nil, err
	}
	type entry struct {
		Name    string                            `json:"name"`
		Subject v1alpha1.ClusterwidePolicySubject `json:"subject"`
		// Connections says whether the policy judges any: if not, it has a part
		// runtime alone.
		Connections bool `json:"connections"`
	}
	out := make([]entry, 0, len(policies))
	for _, p := range policies {
		out = append(out, entry{p.Name, p.Spec.Subject, len(p.Spec.Ingress)+len(p.Spec.Egress) > 0})
	}
	return out, nil
}

func callOverlap(_ context.Context, _ *session, args []json.RawMessage) (any, error) {
	var a, b v1alpha1.ClusterwidePolicySubject
	if err := decode(args, &a, &b); err != nil {
		return nil, err
	}
	return overlap(a, b), nil
}

func callEstimate(ctx context.Context, s *session, args []json.RawMessage) (any, error) {
	policy, err := decodePolicy(args)
	if err != nil {
		return nil, err
	}
	e, err := s.estimator.Estimate(ctx, policy)
	if err != nil {
		return nil, err
	}
	return map[string]any{"entries": e.Entries, "budget": e.Budget, "refused": e.Refused}, nil
}

func callCut(ctx context.Context, s *session, args []json.RawMessage) (any, error) {
	policy, err := decodePolicy(args)
	if err != nil {
		return nil, err
	}
	system, err := s.loadSystem(ctx)
	if err != nil {
		return nil, err
	}
	found, seen := cuts(system, policy, s.share(ctx))
	if seen.partial() {
		s.note("rule 37: " + seen.String())
	}
	return append(found, stops(system, policy)...), nil
}

// share returns whether there is time left for one of the questions of a
// request: half of what remains to its deadline, so that the other questions,
// and the answer, have the rest.
func (s *session) share(ctx context.Context) func() bool {
	deadline, ok := ctx.Deadline()
	if !ok {
		return func() bool { return true }
	}
	start := s.now()
	end := start.Add(deadline.Sub(start) / 2)
	return func() bool { return s.now().Before(end) }
}

// decodePolicy takes the kind and the object of a policy.
func decodePolicy(args []json.RawMessage) (model.Policy, error) {
	var kind string
	if err := json.Unmarshal(args[0], &kind); err != nil {
		return model.Policy{}, err
	}
	return translateObject(kind, args[1])
}

func decode(args []json.RawMessage, targets ...any) error {
	for i, target := range targets {
		if err := json.Unmarshal(args[i], target); err != nil {
			return fmt.Errorf("argument %d: %w", i, err)
		}
	}
	return nil
}
