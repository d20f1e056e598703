package arch

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// mayImport lists, for each place of the house, what of ours it may import
// besides packages below itself. The longest prefix counts. A place that is
// not listed fails the test: a new one needs a decision.
var mayImport = map[string][]string{
	"":                 {},
	"api":              {},
	"policy/model":     {},
	"policy/translate": {"api", "policy/model"},
	"policy/index":     {"policy/model"},
	"policy/identity":  {"policy/model", "policy/index"},
	"policy/compile":   {"policy/model", "policy/index", "policy/identity", "snapshot"},
	"policy/analysis":  {"policy/model", "policy/index", "policy/identity", "policy/compile", "snapshot"},
	"policy/reference": {"policy/model"},
	"policy/propose":   {"api"},
	"snapshot":         {},
	"bpf":              {},
	"controllers":      {"api", "policy", "snapshot"},
	"webhooks":         {"api", "policy"},
	"nodeagent":        {"snapshot", "bpf"},
	"config":           {},
	"cmd":              {"..."},
	"test":             {"..."},
	"hack":             {"..."},
}

// impure are packages that the functional core has no use for: it takes values
// and returns values.
var impure = []string{
	"context", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "os/signal",
	"syscall", "testing", "time",
	"github.com/go-logr/logr", "google.golang.org/grpc", "k8s.io/client-go", "k8s.io/klog/v2",
	"sigs.k8s.io/controller-runtime",
}

// core are the places that are pure. The wire form is generated gRPC code,
// which cannot do without context.
func core(place string) bool {
	return (under(place, "policy") || under(place, "snapshot")) && !under(place, "snapshot/wire")
}

func TestImportsOfOurs(t *testing.T) {
	for _, p := range packages(t) {
		rule, ok := longestRule(p.place)
		if !ok {
			t.Errorf("%s: no rule says what it may import: add one to mayImport and to .golangci.yml", p.place)
			continue
		}
		for _, imported := range p.ours() {
			allowed := mayImport[rule]
			fine := slices.Contains(allowed, "...") || (rule != "" && under(imported, rule)) ||
				slices.ContainsFunc(allowed, func(a string) bool { return under(imported, a) })
			if !fine {
				t.Errorf("%s imports %s; it may import %v", p.place, imported, allowed)
			}
		}
	}
}

func TestCoreIsPure(t *testing.T) {
	for _, p := range packages(t) {
		if !core(p.place) {
			continue
		}
		for _, imported := range p.Imports {
			for _, i := range impure {
				if imported == i || strings.Contains(i, ".") && under(imported, i) {
					t.Errorf("%s imports %s: the functional core has no clock, client, context, logger or file", p.place, imported)
				}
			}
		}
	}
}

func TestOnlyBPFAndAgentImportEBPF(t *testing.T) {
	for _, p := range packages(t) {
		if under(p.place, "bpf") || under(p.place, "nodeagent") || under(p.place, "test") || under(p.place, "hack/bench") {
			continue
		}
		for _, imported := range p.Imports {
			if under(imported, "github.com/cilium/ebpf") {
				t.Errorf("%s imports %s; only bpf and nodeagent may", p.place, imported)
			}
		}
	}
}

func longestRule(place string) (string, bool) {
	for prefix := place; ; prefix = path.Dir(prefix) {
		if prefix == "." {
			prefix = ""
		}
		if _, ok := mayImport[prefix]; ok && (prefix != "" || place == "") {
			return prefix, true
		}
		if prefix == "" {
			return "", false
		}
	}
}

// under reports whether p is dir or below it.
func under(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}

func TestUnder(t *testing.T) {
	for _, tc := range []struct {
		p, dir string
		want   bool
	}{
		{"snapshot", "snapshot", true},
		{"snapshot/wire", "snapshot", true},
		{"snapshots", "snapshot", false},
		{"policy", "policy/model", false},
	} {
		if have := under(tc.p, tc.dir); have != tc.want {
			t.Errorf("under(%q, %q) = %v, want %v", tc.p, tc.dir, have, tc.want)
		}
	}
}
