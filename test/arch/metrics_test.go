package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var metricRow = regexp.MustCompile("(?m)^\\| `(palisade_[a-z_]+)` \\|([^|]*)\\|")

// TestMetricsAreDocumented: docs/metrics.md has every metric of the controller, of
// admission and of the agent, with its labels, and no other.
func TestMetricsAreDocumented(t *testing.T) {
	documented := map[string]string{}
	for _, m := range metricRow.FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		if documented[m[1]] != "" {
			t.Errorf("docs/metrics.md has %s twice", m[1])
		}
		documented[m[1]] = "{" + strings.ReplaceAll(strings.TrimSpace(m[2]), "`", "") + "}"
	}
	made := map[string]string{}
	for _, p := range packages(t) {
		if !under(p.place, "controllers") && !under(p.place, "webhooks") && !under(p.place, "nodeagent") && !under(p.place, "cmd") {
			continue
		}
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if name, labels := metricOf(call); name != "" {
						made[name] = "{" + strings.Join(labels, ", ") + "}"
					}
				}
				return true
			})
		}
	}
	if len(made) < 30 {
		t.Errorf("%d metrics were found; the search is wrong", len(made))
	}
	for name, labels := range made {
		if documented[name] != labels {
			t.Errorf("%s%s is %q in docs/metrics.md", name, labels, documented[name])
		}
	}
	for name := range documented {
		if made[name] == "" {
			t.Errorf("docs/metrics.md has %s, which is not made", name)
		}
	}
}

// metricOf returns the metric that a call makes, if it makes one.
func metricOf(call *ast.CallExpr) (name string, labels []string) {
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		if fun.Name == "desc" && len(call.Args) >= 2 { // package nodeagent's
			return "palisade_nodeagent_" + text(call.Args[0]), texts(call.Args[2:])
		}
	case *ast.SelectorExpr:
		from, ok := fun.X.(*ast.Ident)
		if !ok || from.Name != "prometheus" || len(call.Args) == 0 {
			return "", nil
		}
		if fun.Sel.Name == "NewDesc" {
			return text(call.Args[0]), elements(call.Args[2])
		}
		options, ok := call.Args[0].(*ast.CompositeLit)
		if !ok {
			return "", nil
		}
		for _, e := range options.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == "Name" {
				name = text(kv.Value)
			}
		}
		if strings.HasSuffix(fun.Sel.Name, "Vec") {
			labels = elements(call.Args[1])
		}
	}
	return name, labels
}

// text is the value of a literal; empty: it is none.
func text(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		if s, err := strconv.Unquote(lit.Value); err == nil {
			return s
		}
	}
	return ""
}

func texts(list []ast.Expr) []string {
	var out []string
	for _, e := range list {
		out = append(out, text(e))
	}
	return out
}

// elements are the texts of a literal slice.
func elements(e ast.Expr) []string {
	if lit, ok := e.(*ast.CompositeLit); ok {
		return texts(lit.Elts)
	}
	return nil
}
