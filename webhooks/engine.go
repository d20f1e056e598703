package webhooks

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// Deadline bounds the judgement of one request. It is below the webhook's own
// timeout, so that the denial says which rule was slow.
const Deadline = 4 * time.Second

// Engine judges objects by rules. It is safe for concurrent use.
type Engine struct {
	facts     Facts
	estimator Estimator
	now       func() time.Time
	rules     atomic.Pointer[[]preparedRule]
}

type preparedRule struct {
	Rule
	query rego.PreparedEvalQuery
}

// Request is what a rule sees as input: the object as it would be stored.
type Request struct {
	Kind   string
	Object map[string]any
	Old    map[string]any // nil unless the object is updated
}

// Verdict is the outcome of a judgement. It is a denial if Refused is not empty.
type Verdict struct {
	Refused  []Violation
	Warnings []Violation
	Notes    []string // what could not be looked at in time, for the author to know
}

// NewEngine returns an engine with the given rules: file name → Rego.
func NewEngine(ctx context.Context, modules map[string]string, facts Facts, estimator Estimator) (*Engine, error) {
	e := &Engine{facts: facts, estimator: estimator, now: time.Now}
	return e, e.Load(ctx, modules)
}

// Load replaces the rules. Judgements under way finish by the old ones; if any
// of the new ones does not compile, all the old ones stay.
func (e *Engine) Load(ctx context.Context, modules map[string]string) error {
	compiler, parsed, err := compileModules(modules)
	if err != nil {
		return err
	}
	var prepared []preparedRule
	for _, file := range slices.Sorted(maps.Keys(parsed)) {
		if !isRule(parsed[file]) {
			continue
		}
		rule, err := newRule(file, parsed[file])
		if err != nil {
			return err
		}
		options := []func(*rego.Rego){
			rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(rule.path.Append(ast.StringTerm("violations")))))),
			rego.Compiler(compiler),
			// Without this a built-in that meets a bad argument is undefined, and
			// the rule finds nothing wrong.
			rego.StrictBuiltinErrors(true),
		}
		for _, b := range builtins {
			options = append(options, b.implementation())
		}
		query, err := rego.New(options...).PrepareForEval(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		prepared = append(prepared, preparedRule{Rule: rule, query: query})
	}
	slices.SortStableFunc(prepared, func(a, b preparedRule) int { return cmp.Compare(a.Number, b.Number) })
	e.rules.Store(&prepared)
	return nil
}

// Rules returns the headers of the rules, by number.
func (e *Engine) Rules() []Rule {
	var out []Rule
	for _, r := range *e.rules.Load() {
		out = append(out, r.Rule)
	}
	return out
}

// Judge applies every rule for the object's kind. An error means that a rule
// could not be applied; the caller denies.
//
// A violation that the old object already had is not one: who updates an object
// answers for what they change.
func (e *Engine) Judge(ctx context.Context, req Request) (Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	asked := &session{facts: e.facts, estimator: e.estimator, now: e.now}
	ctx = withSession(ctx, asked)

	var verdict Verdict
	for _, rule := range *e.rules.Load() {
		if !rule.judges(req.Kind) {
			continue
		}
		found, err := rule.eval(ctx, req.Kind, req.Object, req.Old)
		if err != nil {
			return Verdict{}, fmt.Errorf("%s could not be applied: %w", rule, err)
		}
		if len(found) > 0 && req.Old != nil {
			had, err := rule.eval(ctx, req.Kind, req.Old, nil)
			if err != nil {
				return Verdict{}, fmt.Errorf("%s could not be applied to the old object: %w", rule, err)
			}
			found = slices.DeleteFunc(found, func(v Violation) bool {
				return slices.ContainsFunc(had, v.notWorseThan)
			})
		}
		if rule.Severity == Refuse {
			verdict.Refused = append(verdict.Refused, found...)
		} else {
			verdict.Warnings = append(verdict.Warnings, found...)
		}
	}
	verdict.Notes = asked.notes
	return verdict, nil
}

// eval returns the rule's violations in a fixed order. Of an object that was before,
// nobody knows what had been before it.
func (r preparedRule) eval(ctx context.Context, kind string, object, old map[string]any) ([]Violation, error) {
	seen := map[string]any{"kind": kind, "object": object}
	if old != nil {
		seen["old"] = old
	}
	input, err := ast.InterfaceToValue(seen)
	if err != nil {
		return nil, err
	}
	results, err := r.query.Eval(ctx, rego.EvalParsedInput(input))
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		// A rule that is undefined would let everything pass.
		return nil, fmt.Errorf("%s has no set named violations", r.path)
	}
	raw, err := json.Marshal(results[0].Expressions[0].Value)
	if err != nil {
		return nil, err
	}
	var found []struct {
		Field, Why, Fix, Key string
		Excess               float64
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return nil, fmt.Errorf("%s: violations: %w", r.path, err)
	}
	var out []Violation
	for _, f := range found {
		if f.Field == "" || f.Why == "" || f.Fix == "" {
			return nil, fmt.Errorf("%s: a violation lacks field, why or fix: %s", r.path, raw)
		}
		out = append(out, Violation{Rule: r.Rule, Field: f.Field, Why: f.Why, Fix: f.Fix, Key: cmp.Or(f.Key, f.Why), Excess: f.Excess})
	}
	slices.SortFunc(out, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Why, b.Why))
	})
	return out, nil
}

// compileModules parses and compiles rules with the built-ins that they may use.
func compileModules(modules map[string]string) (*ast.Compiler, map[string]*ast.Module, error) {
	capabilities := Capabilities()
	parsed := make(map[string]*ast.Module, len(modules))
	for _, file := range slices.Sorted(maps.Keys(modules)) {
		m, err := ast.ParseModuleWithOpts(file, modules[file], ast.ParserOptions{
			Capabilities:      capabilities,
			ProcessAnnotation: true,
			RegoVersion:       ast.RegoV1,
		})
		if err != nil {
			return nil, nil, err
		}
		parsed[file] = m
	}
	compiler := ast.NewCompiler().WithCapabilities(capabilities).WithStrict(true)
	if compiler.Compile(parsed); compiler.Failed() {
		return nil, nil, compiler.Errors
	}
	return compiler, parsed, nil
}

// Capabilities are the functions that rules may use: OPA's deterministic ones,
// which give the same answer on every replica and reach no network, and ours.
func Capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(slices.Clone(c.Builtins), func(b *ast.Builtin) bool { return b.IsNondeterministic() })
	c.AllowNet = []string{}
	for _, b := range builtins {
		c.Builtins = append(c.Builtins, b.declaration())
	}
	slices.SortFunc(c.Builtins, func(a, b *ast.Builtin) int { return cmp.Compare(a.Name, b.Name) })
	return c
}
