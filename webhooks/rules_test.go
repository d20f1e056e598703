package webhooks

import (
	"maps"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/tester"

	"palisade.dev/palisade/webhooks/rules"
)

// TestRego runs the opa test cases of the shipped rules, each as a subtest, in
// the engine's own conditions: its capabilities, strict built-in errors.
func TestRego(t *testing.T) {
	modules := maps.Clone(rules.Modules())
	maps.Copy(modules, rules.Tests())
	_, parsed, err := compileModules(modules)
	if err != nil {
		t.Fatal(err)
	}
	runner := tester.NewRunner().RaiseBuiltinErrors(true).AddCustomBuiltins(testerBuiltins()).SetModules(parsed)
	// Built-ins that ask the cluster are replaced by "with"; the others need none.
	results, err := runner.RunTests(withSession(t.Context(), &session{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for r := range results {
		ran[r.Package]++
		t.Run(r.Package+"."+r.Name, func(t *testing.T) {
			if !r.Pass() {
				t.Errorf("%s: %s (error: %v)", r.Location, r.String(), r.Error)
			}
		})
	}
	// A rule without a case is one that nobody has seen refuse anything.
	for file, m := range parsed {
		if !isRule(m) {
			continue
		}
		rule, err := newRule(file, m)
		if err != nil {
			t.Fatal(err)
		}
		if !testsMention(rules.Tests(), m.Package.Path.String()) {
			t.Errorf("%s (%s) has no test case", file, rule)
		}
	}
	if len(ran) == 0 {
		t.Error("no test case ran")
	}
}

func TestRulesAreFormatted(t *testing.T) {
	modules := maps.Clone(rules.Modules())
	maps.Copy(modules, rules.Tests())
	for file, text := range modules {
		formatted, err := format.SourceWithOpts(file, []byte(text), format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
		if string(formatted) != text {
			t.Errorf("%s is not formatted; opa fmt would write:\n%s", file, formatted)
		}
	}
}

func TestTheRulesOfTheCatalogue(t *testing.T) {
	engine, err := NewEngine(t.Context(), rules.Modules(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	have := map[RuleNumber]map[Severity]bool{}
	for _, r := range engine.Rules() {
		if have[r.Number] == nil {
			have[r.Number] = map[Severity]bool{}
		}
		have[r.Number][r.Severity] = true
	}
	want := map[RuleNumber][]Severity{17: {Warn, Refuse}, 18: {Warn}, 30: {Refuse}, 37: {Refuse},
		49: {Warn}, 51: {Warn}, 53: {Refuse}, 54: {Warn}, 55: {Warn}, 58: {Refuse}, 63: {Warn}}
	for number, severities := range want {
		for _, s := range severities {
			if !have[number][s] {
				t.Errorf("no rule %d of severity %s", number, s)
			}
		}
	}
}
