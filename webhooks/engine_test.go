package webhooks

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/webhooks/rules"
)

// fakeCluster is Facts and Estimator.
type fakeCluster struct {
	clusterwide []v1alpha1.ClusterwidePolicy
	namespaces  []model.Namespace
	system      System
	estimate    Estimate
	err         error
	hang        bool // until the context ends
	listed      int  // how often namespaces were asked for
}

func (f *fakeCluster) wait(ctx context.Context) error {
	if f.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

func (f *fakeCluster) Clusterwide(ctx context.Context, tier v1alpha1.Tier, priority int32) ([]v1alpha1.ClusterwidePolicy, error) {
	var out []v1alpha1.ClusterwidePolicy
	for _, p := range f.clusterwide {
		if p.Spec.Tier == tier && p.Spec.Priority == priority {
			out = append(out, p)
		}
	}
	return out, f.wait(ctx)
}

func (f *fakeCluster) Namespaces(ctx context.Context) ([]model.Namespace, error) {
	f.listed++
	return f.namespaces, f.wait(ctx)
}

func (f *fakeCluster) System(ctx context.Context) (System, error) { return f.system, f.wait(ctx) }

func (f *fakeCluster) Estimate(ctx context.Context, _ model.Policy) (Estimate, error) {
	return f.estimate, f.wait(ctx)
}

func newEngine(t *testing.T, modules map[string]string, f *fakeCluster) *Engine {
	t.Helper()
	e, err := NewEngine(t.Context(), modules, f, f)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// ruleText is a rule whose body is given.
func ruleText(severity, body string) string {
	return `# METADATA
# title: a rule of the test
# custom:
#   rule: 900
#   severity: ` + severity + `
#   kinds: [NetworkPolicy]
package palisade.rules.r900

` + body
}

const redRule = `violations contains {"field": "spec.colour", "why": "it is red", "fix": "use green"} if input.object.spec.colour == "red"`

// longRule counts: its reason differs with every count, its key does not.
const longRule = `violations contains {"field": "spec", "why": sprintf("%d letters", [n]), "fix": "shorten", "key": "letters", "excess": n - 2} if {
	n := count(input.object.spec.colour)
	n > 2
}`

func object(colour string) map[string]any {
	return map[string]any{"metadata": map[string]any{"name": "p"}, "spec": map[string]any{"colour": colour}}
}

func TestJudge(t *testing.T) {
	tests := map[string]struct {
		body    string
		req     Request
		refused []string // fields
		err     string
	}{
		"violation": {body: redRule, req: Request{Kind: "NetworkPolicy", Object: object("red")}, refused: []string{"spec.colour"}},
		"none":      {body: redRule, req: Request{Kind: "NetworkPolicy", Object: object("green")}},
		"another kind is not judged": {
			body: redRule, req: Request{Kind: "AddressGroup", Object: object("red")},
		},
		"a violation that the old object had": {
			body: redRule, req: Request{Kind: "NetworkPolicy", Object: object("red"), Old: object("red")},
		},
		"a new violation on update": {
			body: redRule, req: Request{Kind: "NetworkPolicy", Object: object("red"), Old: object("green")},
			refused: []string{"spec.colour"},
		},
		"the same rule at another field": {
			body: `violations contains {"field": sprintf("spec.%s", [k]), "why": "it is red", "fix": "use green"} if {
				some k, v in input.object.spec
				v == "red"
			}`,
			req: Request{
				Kind:   "NetworkPolicy",
				Object: map[string]any{"spec": map[string]any{"a": "red", "b": "red"}},
				Old:    map[string]any{"spec": map[string]any{"a": "red"}},
			},
			refused: []string{"spec.b"},
		},
		"another reason at the same field": {
			body: `violations contains {"field": "spec", "why": sprintf("it is %s", [input.object.spec.colour]), "fix": "use green"} if input.object.spec.colour != "green"`,
			req:  Request{Kind: "NetworkPolicy", Object: object("red"), Old: object("blue")}, refused: []string{"spec"},
		},
		"more of the same":  {body: longRule, req: Request{Kind: "NetworkPolicy", Object: object("mauve"), Old: object("red")}, refused: []string{"spec"}},
		"as much as before": {body: longRule, req: Request{Kind: "NetworkPolicy", Object: object("red"), Old: object("tan")}},
		"less of the same":  {body: longRule, req: Request{Kind: "NetworkPolicy", Object: object("red"), Old: object("mauve")}},
		"a built-in that meets a bad argument": {
			// Without strict errors this is undefined, and the object would pass.
			body: `violations contains {"field": "f", "why": "w", "fix": "x"} if to_number(input.object.spec.colour) > 3`,
			req:  Request{Kind: "NetworkPolicy", Object: object("red")}, err: "rule 900 (a rule of the test) could not be applied: ",
		},
		"a violation without a fix": {
			body: `violations contains {"field": "f", "why": "w"}`,
			req:  Request{Kind: "NetworkPolicy", Object: object("red")}, err: "lacks field, why or fix",
		},
		"no set named violations": {
			body: `violation contains 1`,
			req:  Request{Kind: "NetworkPolicy", Object: object("red")}, err: "violations",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := NewEngine(t.Context(), map[string]string{"r900.rego": ruleText("R", tc.body)}, nil, nil)
			var verdict Verdict
			if err == nil {
				verdict, err = e.Judge(t.Context(), tc.req)
			}
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("err = %v, want one with %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, v := range verdict.Refused {
				have = append(have, v.Field)
			}
			if strings.Join(have, " ") != strings.Join(tc.refused, " ") {
				t.Errorf("refused fields %v, want %v", have, tc.refused)
			}
		})
	}
}

func TestFactsThatCannotBeHadDeny(t *testing.T) {
	broken := &fakeCluster{err: errors.New("the cache is not synced")}
	e := newEngine(t, rules.Modules(), broken)
	_, err := e.Judge(t.Context(), policyRequest(t, isolating("shop", "p")))
	if err == nil || !strings.Contains(err.Error(), "rule 30") || !strings.Contains(err.Error(), "the cache is not synced") {
		t.Errorf("err = %v, want one that names the rule and the cause", err)
	}
}

func TestDeadline(t *testing.T) {
	e := newEngine(t, rules.Modules(), &fakeCluster{hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := e.Judge(ctx, policyRequest(t, isolating("shop", "p"))); err == nil {
		t.Error("a rule that hangs gave a verdict")
	}
}

func TestLoadKeepsTheOldRulesOnError(t *testing.T) {
	e := newEngine(t, map[string]string{"r900.rego": ruleText("R", redRule)}, nil)
	for name, text := range map[string]string{
		"syntax":             ruleText("R", "violations contains"),
		"unknown function":   ruleText("R", `violations contains x if x := no.such("f")`),
		"no metadata":        "package palisade.rules.r901\nviolations contains 1 if false",
		"unknown severity":   ruleText("X", redRule),
		"network":            ruleText("R", `violations contains x if x := http.send({"method": "get", "url": "http://127.0.0.1/"})`),
		"clock":              ruleText("R", `violations contains x if x := time.now_ns()`),
		"random":             ruleText("R", `violations contains x if x := rand.intn("a", 5)`),
		"environment":        ruleText("R", `violations contains x if x := opa.runtime()`),
		"a variable unused":  ruleText("R", `violations contains {"field": "f", "why": "w", "fix": "x"} if { y := 1 }`),
		"version 0 of Rego":  ruleText("R", `violations[x] { x := 1 }`),
		"name of a resolver": ruleText("R", `violations contains x if x := net.lookup_ip_addr("a")`),
	} {
		t.Run(name, func(t *testing.T) {
			if err := e.Load(t.Context(), map[string]string{"r901.rego": text}); err == nil {
				t.Fatal("it loaded")
			}
			if have := e.Rules(); len(have) != 1 || have[0].Number != 900 {
				t.Errorf("rules are %v, want the old one", have)
			}
		})
	}
}

func TestLoadSwaps(t *testing.T) {
	e := newEngine(t, map[string]string{"r900.rego": ruleText("R", redRule)}, nil)
	if err := e.Load(t.Context(), map[string]string{"r900.rego": ruleText("W", redRule)}); err != nil {
		t.Fatal(err)
	}
	verdict, err := e.Judge(t.Context(), Request{Kind: "NetworkPolicy", Object: object("red")})
	if err != nil || len(verdict.Refused) != 0 || len(verdict.Warnings) != 1 {
		t.Errorf("verdict %+v, %v; want a warning by the new rule", verdict, err)
	}
}

func TestCapabilitiesAreDeterministic(t *testing.T) {
	for _, b := range Capabilities().Builtins {
		if b.IsNondeterministic() {
			t.Errorf("%s may give another answer on another replica", b.Name)
		}
	}
	if n := len(ast.CapabilitiesForThisVersion().Builtins); n < 100 {
		t.Errorf("OPA has %d built-ins; filtering has changed OPA's own list", n)
	}
}
