package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPackagesSayTheirPurpose(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // tests only
		}
		want := []string{"Package " + p.Name + " "}
		if p.Name == "main" {
			base := path.Base(p.place)
			want = []string{"Command ", strings.ToUpper(base[:1]) + base[1:] + " "}
		}
		if !slices.ContainsFunc(want, func(w string) bool { return strings.HasPrefix(p.Doc, w) }) {
			t.Errorf("%s: its comment begins %q; want %q and what the package is for", p.place, p.Doc, want[0]+"...")
		}
	}
}

// An error says what and which; that it is a failure is known.
func TestErrorsDoNotSayFailed(t *testing.T) {
	banned := "failed" + " to" // in two parts, so that this file passes
	for _, p := range packages(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if ok && lit.Kind == token.STRING && strings.Contains(strings.ToLower(lit.Value), banned) {
					pos := fset.Position(lit.Pos())
					t.Errorf("%s/%s:%d: %s: say what and which, for example \"program %%s: %%w\"", p.place, name, pos.Line, lit.Value)
				}
				return true
			})
		}
	}
}

func TestMakeHelpIsComplete(t *testing.T) {
	text := read(t, "Makefile")
	targets := regexp.MustCompile(`(?m)^\.PHONY: (.+)$`).FindAllStringSubmatch(text, -1)
	if len(targets) == 0 {
		t.Fatal("the Makefile has no .PHONY lines")
	}
	for _, m := range targets {
		for _, target := range strings.Fields(m[1]) {
			if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:.* ## \S`).MatchString(text) {
				t.Errorf("make %s: no help; write it after \" ## \" on the target's line", target)
			}
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, ".PHONY: "+m[1]+"\n") {
			t.Errorf("make %s: it makes no file of that name, so it needs a .PHONY line", m[1])
		}
	}
}

// The tour in doc.go passes every door.
func TestTourIsComplete(t *testing.T) {
	tour := read(t, "doc.go")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || e.Name() == "bin" || e.Name() == "dist" {
			continue
		}
		if !regexp.MustCompile(`(?m)^//\s.*\b` + e.Name() + `\b`).MatchString(tour) {
			t.Errorf("doc.go does not mention the directory %s", e.Name())
		}
	}
}

// make and CI run them directly.
func TestScriptsAreExecutable(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(root, "hack", "*.sh"))
	if err != nil || len(scripts) == 0 {
		t.Fatalf("scripts of hack: %v, %v", scripts, err)
	}
	for _, s := range append(scripts, filepath.Join(root, ".ci", "run")) {
		info, err := os.Stat(s)
		if err != nil {
			t.Error(err)
		} else if info.Mode()&0o111 == 0 {
			t.Errorf("%s is not executable", s)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
