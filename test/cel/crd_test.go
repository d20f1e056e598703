package cel

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const crdDir = "../../config/crd/bases"

// site is one place in a schema where one CEL rule stands.
type site struct {
	kind string
	// path leads from the object to the value that the rule calls self; "[]"
	// is any item of a list and "{}" any value of a map.
	path []string
	rule apiextensionsv1.ValidationRule
}

// loadCRDs reads the generated CRDs, by kind.
func loadCRDs(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(crdDir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("CRDs in %s: %d files, %v", crdDir, len(files), err)
	}
	out := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		out[crd.Spec.Names.Kind] = crd
	}
	return out
}

// schemaOf is the schema of a kind's only version.
func schemaOf(crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.JSONSchemaProps {
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// sites lists every CEL rule of a kind, at every place where it stands.
func sites(kind string, schema *apiextensionsv1.JSONSchemaProps) []site {
	var out []site
	var walk func(s *apiextensionsv1.JSONSchemaProps, path []string)
	walk = func(s *apiextensionsv1.JSONSchemaProps, path []string) {
		for _, rule := range s.XValidations {
			out = append(out, site{kind: kind, path: path, rule: rule})
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			property := s.Properties[name]
			walk(&property, extend(path, name))
		}
		if s.Items != nil && s.Items.Schema != nil {
			walk(s.Items.Schema, extend(path, "[]"))
		}
		if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
			walk(s.AdditionalProperties.Schema, extend(path, "{}"))
		}
	}
	walk(schema, nil)
	return out
}

func extend(path []string, name string) []string {
	return append(append([]string(nil), path...), name)
}
