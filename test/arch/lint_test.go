package arch

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// depguard is what .golangci.yml says about imports.
type depguard struct {
	Files []string
	Deny  []struct{ Pkg string }
}

// covers reports whether the rule is about all files of a place and below.
func (d depguard) covers(place string) bool {
	return slices.ContainsFunc(d.Files, func(pattern string) bool {
		dir, ok := strings.CutSuffix(strings.TrimPrefix(pattern, "**/"), "/**")
		return ok && !strings.HasPrefix(pattern, "!") && under(place, dir)
	})
}

// denies reports whether the rule forbids a package and those below it.
func (d depguard) denies(pkg string) bool {
	return slices.ContainsFunc(d.Deny, func(deny struct{ Pkg string }) bool { return under(pkg, strings.TrimSuffix(deny.Pkg, "$")) })
}

func lintRules(t *testing.T) map[string]depguard {
	t.Helper()
	data, err := os.ReadFile("../../.golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct{ Rules map[string]depguard }
			}
		}
	}
	if err := yaml.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	return config.Linters.Settings.Depguard.Rules
}

// TestLintHasTheSameRules: what mayImport forbids the linter forbids, and nothing
// else of ours.
func TestLintHasTheSameRules(t *testing.T) {
	rules := lintRules(t)
	for place, allowed := range mayImport {
		if place == "" || slices.Contains(allowed, "...") {
			continue
		}
		for other := range mayImport {
			if other == "" {
				continue
			}
			may := under(other, place) || slices.ContainsFunc(allowed, func(a string) bool { return under(other, a) })
			denied := false
			for _, r := range rules {
				denied = denied || r.covers(place) && r.denies(module+"/"+other)
			}
			if denied == may {
				t.Errorf("%s importing %s: may it, by mayImport: %t; does .golangci.yml deny it: %t", place, other, may, denied)
			}
		}
	}
	for _, pkg := range impure {
		if !rules["core"].denies(pkg) {
			t.Errorf(".golangci.yml lets the core import %s", pkg)
		}
	}
	for _, place := range []string{"policy/model", "policy/analysis"} {
		if !rules["core"].covers(place) {
			t.Errorf("%s is no core to .golangci.yml", place)
		}
	}
}
