// Package library carries the policies that people start from, so that tests give
// agents and documents the very files that are shipped.
package library

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Policies are the manifests by their policy's name.
func Policies() (map[string]string, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, file := range names {
		name := strings.TrimSuffix(file, ".yaml")
		if name == "kustomization" {
			continue
		}
		text, err := files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		out[name] = string(text)
	}
	return out, nil
}

// OptIn is the label by which a namespace asks for a policy, with the value "true".
func OptIn(policy string) string { return "library.palisade.dev/" + policy }
