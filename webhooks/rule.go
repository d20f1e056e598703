package webhooks

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Severity says what a violation leads to.
type Severity string

// The severities, as the catalogue and the rules' headers write them.
const (
	Refuse Severity = "R"
	Warn   Severity = "W"
)

// RuleNumber is a rule's row in the catalogue of checks.
type RuleNumber int

// Rule is one Rego package below data.palisade.rules: its header, in words.
type Rule struct {
	Number   RuleNumber
	Severity Severity
	Title    string
	Kinds    []string // kinds of objects that it judges

	path ast.Ref // data.palisade.rules.NAME
}

func (r Rule) String() string {
	return fmt.Sprintf("rule %d (%s)", r.Number, r.Title)
}

// header is the custom part of a rule's metadata.
type header struct {
	Rule     RuleNumber `json:"rule"`
	Severity Severity   `json:"severity"`
	Kinds    []string   `json:"kinds"`
}

// rulesPrefix is where packages of rules stand; others may hold helpers.
var rulesPrefix = ast.MustParseRef("data.palisade.rules")

// isRule reports whether a module holds a rule, and not helpers or tests.
func isRule(m *ast.Module) bool {
	path := m.Package.Path
	return path.HasPrefix(rulesPrefix) && len(path) == len(rulesPrefix)+1 && !strings.HasSuffix(path[len(path)-1].String(), `_test"`)
}

// newRule reads the header of a module.
func newRule(file string, m *ast.Module) (Rule, error) {
	for _, a := range m.Annotations {
		if a.Scope != "package" {
			continue
		}
		raw, err := json.Marshal(a.Custom)
		if err != nil {
			return Rule{}, fmt.Errorf("%s: metadata: %w", file, err)
		}
		var h header
		if err := json.Unmarshal(raw, &h); err != nil {
			return Rule{}, fmt.Errorf("%s: metadata: %w", file, err)
		}
		rule := Rule{Number: h.Rule, Severity: h.Severity, Title: a.Title, Kinds: h.Kinds, path: m.Package.Path}
		return rule, rule.check(file)
	}
	return Rule{}, fmt.Errorf("%s: no metadata: begin the file with a # METADATA comment that has a title and custom.rule, severity and kinds", file)
}

func (r Rule) check(file string) error {
	switch {
	case r.Number < 1:
		return fmt.Errorf("%s: metadata: custom.rule is %d, want the row in the catalogue", file, r.Number)
	case r.Severity != Refuse && r.Severity != Warn:
		return fmt.Errorf("%s: metadata: custom.severity is %q, want R or W", file, r.Severity)
	case r.Title == "":
		return fmt.Errorf("%s: metadata: no title", file)
	case len(r.Kinds) == 0:
		return fmt.Errorf("%s: metadata: custom.kinds is empty, want the kinds that the rule judges", file)
	}
	return nil
}

func (r Rule) judges(kind string) bool { return slices.Contains(r.Kinds, kind) }

// Violation is one thing that a rule finds wrong.
type Violation struct {
	Rule  Rule
	Field string // for example spec.subject
	Why   string // what is wrong
	Fix   string // what to do about it

	// Key tells what the violation is about apart from how much of it there is:
	// a rule that counts gives one, else it is Why.
	Key    string
	Excess float64 // how much of it there is, where a rule counts
}

// notWorseThan reports whether an object that had h before is none the worse for v.
func (v Violation) notWorseThan(h Violation) bool {
	return v.Field == h.Field && v.Key == h.Key && v.Excess <= h.Excess
}

// String names the rule, the field and the fix.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s: %s: %s", v.Rule, v.Field, v.Why, v.Fix)
}
