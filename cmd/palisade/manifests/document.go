package manifests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// document is one object of a file.
type document struct {
	file   string
	line   int
	object *unstructured.Unstructured
}

// name is how messages call the object.
func (d document) name() string {
	name := d.object.GetName()
	if ns := d.object.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	return strings.TrimSpace(d.object.GetKind() + " " + name)
}

func (d document) problem(reason string) Problem {
	return Problem{File: d.file, Line: d.line, Object: d.name(), Reason: reason}
}

// isManifest reports whether a file holds objects, by its name.
func isManifest(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// readAll reads every manifest below the root of a file system, in the order of
// their paths. Directories and files whose names begin with a dot are left out.
func readAll(fsys fs.FS) ([]document, Problems) {
	var docs []document
	var problems Problems
	files := 0
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir() || !isManifest(name):
			return nil
		}
		files++
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		found, bad := readFile(name, data)
		docs, problems = append(docs, found...), append(problems, bad...)
		return nil
	})
	if err != nil {
		return nil, Problems{{File: ".", Reason: err.Error()}}
	}
	if files == 0 {
		return nil, Problems{{File: ".", Reason: "no manifests: no file here ends in .yaml, .yml or .json"}}
	}
	return docs, problems
}

// separator is the line between the documents of a YAML file.
var separator = regexp.MustCompile(`(?m)^---(?:[ \t].*)?\r?$`)

// readFile splits a file into its documents and reads each of them.
func readFile(file string, data []byte) ([]document, Problems) {
	var docs []document
	var problems Problems
	start := 0
	bounds := append(separator.FindAllIndex(data, -1), []int{len(data), len(data)})
	for _, b := range bounds {
		chunk := data[start:b[0]]
		line := 1 + bytes.Count(data[:start], []byte("\n")) + leadingLines(chunk)
		found, err := parse(padded(chunk, data[:start]))
		if err != nil {
			problems = append(problems, Problem{File: file, Line: line, Reason: err.Error()})
		}
		for _, u := range found {
			docs = append(docs, document{file: file, line: line, object: u})
		}
		start = b[1]
	}
	return docs, problems
}

// padded puts a chunk behind as many lines as stand before it in its file, so
// that the parser's messages count the lines of the file.
func padded(chunk, before []byte) []byte {
	return append(bytes.Repeat([]byte("\n"), bytes.Count(before, []byte("\n"))), chunk...)
}

// leadingLines counts the blank lines and comments before the first content.
func leadingLines(chunk []byte) int {
	n := 0
	for line := range bytes.Lines(chunk) {
		text := bytes.TrimSpace(line)
		if len(text) > 0 && text[0] != '#' {
			break
		}
		n++
	}
	return n
}

// parse reads one document; a list gives its items, an empty document nothing.
func parse(chunk []byte) ([]*unstructured.Unstructured, error) {
	data, err := yaml.YAMLToJSONStrict(chunk)
	if err != nil {
		reason := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "unmarshal errors:", ""), "yaml: ")
		return nil, fmt.Errorf("no YAML or JSON: %s", strings.TrimSpace(reason))
	}
	if bytes.Equal(data, []byte("null")) {
		return nil, nil
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		return nil, describe(data, err)
	}
	if !u.IsList() {
		return []*unstructured.Unstructured{u}, nil
	}
	var out []*unstructured.Unstructured
	err = u.EachListItem(func(o runtime.Object) error {
		item, ok := o.(*unstructured.Unstructured)
		if !ok {
			return fmt.Errorf("an item of the list is no object")
		}
		inheritKind(u, item)
		out = append(out, item)
		return nil
	})
	return out, err
}

// describe says in our words why a document is no object.
func describe(data []byte, err error) error {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	_ = json.Unmarshal(data, &head) // what is readable of it says enough
	switch {
	case head.Kind == "":
		return fmt.Errorf("no object: kind is missing")
	case head.APIVersion == "":
		return fmt.Errorf("no object: apiVersion is missing from this %s", head.Kind)
	default:
		return err
	}
}

// inheritKind gives the items of a typed list, such as PodList, the kind that
// an API server leaves out of them.
func inheritKind(list, item *unstructured.Unstructured) {
	if item.GetKind() == "" && list.GetKind() != "List" {
		item.SetKind(strings.TrimSuffix(list.GetKind(), "List"))
		item.SetAPIVersion(list.GetAPIVersion())
	}
}
