package v1alpha1

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// TestReleasedObjectsDecode decodes an object of every release that there ever
// was. A failure here is a broken promise: change the types, not the fixtures.
// A release adds a folder and never edits one.
func TestReleasedObjectsDecode(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	for name, document := range released(t) {
		t.Run(name, func(t *testing.T) {
			var meta metav1.TypeMeta
			if err := yaml.Unmarshal(document, &meta); err != nil {
				t.Fatal(err)
			}
			object, err := scheme.New(schema.FromAPIVersionAndKind(meta.APIVersion, meta.Kind))
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.UnmarshalStrict(document, object); err != nil {
				t.Fatal(err)
			}
			noteSet(reflect.ValueOf(object).Elem(), set)
			checkNothingLost(t, document, object)
		})
	}
	for kind := range scheme.KnownTypes(GroupVersion) {
		if object, err := scheme.New(GroupVersion.WithKind(kind)); err == nil {
			checkAllSet(t, reflect.TypeOf(object).Elem(), set, map[reflect.Type]bool{})
		}
	}
}

// released reads every document of every fixture, by file and position.
func released(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/released/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("fixtures: %d files, %v", len(files), err)
	}
	out := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, document := range strings.Split(string(data), "\n---\n") {
			out[fmt.Sprintf("%s#%d", file, i)] = []byte(document)
		}
	}
	return out
}

// checkNothingLost encodes the object again and looks for every value of the
// fixture.
func checkNothingLost(t *testing.T, document []byte, object runtime.Object) {
	t.Helper()
	var before, after any
	if err := yaml.Unmarshal(document, &before); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &after); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, before, after any)
	compare = func(path string, before, after any) {
		switch b := before.(type) {
		case map[string]any:
			a, _ := after.(map[string]any)
			for key, value := range b {
				compare(path+"."+key, value, a[key])
			}
		case []any:
			a, _ := after.([]any)
			if len(a) != len(b) {
				t.Errorf("%s: %d items became %d", path, len(b), len(a))
				return
			}
			for i := range b {
				compare(fmt.Sprintf("%s[%d]", path, i), b[i], a[i])
			}
		default:
			if !reflect.DeepEqual(before, after) {
				t.Errorf("%s: %v became %v", path, before, after)
			}
		}
	}
	compare("", before, after)
}

// noteSet notes every field of this package's types that a value sets.
func noteSet(v reflect.Value, set map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			noteSet(v.Elem(), set)
		}
	case reflect.Slice:
		for i := range v.Len() {
			noteSet(v.Index(i), set)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if !v.Field(i).IsZero() || isEmptySelector(v.Field(i)) {
				set[fieldKey(v.Type(), field)] = true
			}
			if field.IsExported() {
				noteSet(v.Field(i), set)
			}
		}
	}
}

// isEmptySelector: {} selects everything and is as good as set.
func isEmptySelector(v reflect.Value) bool { return v.Type() == reflect.TypeFor[LabelSelector]() }

// checkAllSet fails for every field of this package that no fixture sets: what a
// release has, its fixtures show.
func checkAllSet(t *testing.T, typ reflect.Type, set map[string]bool, seen map[reflect.Type]bool) {
	t.Helper()
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || typ.PkgPath() != reflect.TypeFor[Peer]().PkgPath() || seen[typ] || strings.HasSuffix(typ.Name(), "List") {
		return
	}
	seen[typ] = true
	for i := range typ.NumField() {
		field := typ.Field(i)
		if !set[fieldKey(typ, field)] {
			t.Errorf("no fixture sets %s", fieldKey(typ, field))
		}
		checkAllSet(t, field.Type, set, seen)
	}
}

func fieldKey(typ reflect.Type, field reflect.StructField) string {
	return typ.Name() + "." + field.Name
}
