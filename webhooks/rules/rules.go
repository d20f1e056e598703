// Package rules embeds the admission rules that Palisade ships: Rego files, one
// for each row of the catalogue of checks, with the opa test cases beside them.
package rules

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.rego
var files embed.FS

// Modules returns the rules, file name → Rego, without their tests.
func Modules() map[string]string { return read(func(name string) bool { return !isTest(name) }) }

// Tests returns the test cases of the rules.
func Tests() map[string]string { return read(isTest) }

func isTest(name string) bool { return strings.HasSuffix(name, "_test.rego") }

func read(want func(name string) bool) map[string]string {
	out := map[string]string{}
	names, err := fs.Glob(files, "*.rego")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names {
		if !want(name) {
			continue
		}
		data, err := files.ReadFile(name)
		if err != nil {
			panic(err) // Glob has just found it
		}
		out[name] = string(data)
	}
	return out
}
