package manifests

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"palisade.dev/palisade/cmd/palisade/manifests/schema"
)

// Options change how manifests are read.
type Options struct {
	// IgnoreUnknownKinds leaves objects of unknown kinds out. Without it each is
	// a problem: a policy whose kind is misspelt must not vanish.
	IgnoreUnknownKinds bool
}

// Dir reads the manifests in a directory and those below it, or one file.
func Dir(ctx context.Context, path string, opts Options) (*Objects, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return relocate(FS(ctx, os.DirFS(path), opts))(path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	docs, problems := readFile(filepath.Base(path), data)
	return relocate(load(ctx, docs, problems, opts))(filepath.Dir(path))
}

// FS reads all manifests of a file system.
func FS(ctx context.Context, fsys fs.FS, opts Options) (*Objects, error) {
	docs, problems := readAll(fsys)
	return load(ctx, docs, problems, opts)
}

// relocate gives problems the paths by which the caller knows the files.
func relocate(objects *Objects, err error) func(root string) (*Objects, error) {
	return func(root string) (*Objects, error) {
		if problems, ok := err.(Problems); ok { //nolint:errorlint // load returns it as it is
			for i := range problems {
				problems[i].File = filepath.Join(root, problems[i].File)
			}
		}
		if objects != nil {
			for key, d := range objects.places {
				d.file = filepath.Join(root, d.file)
				objects.places[key] = d
			}
		}
		return objects, err
	}
}

// checker is made once: it keeps the CEL programs that it has compiled.
var checker = sync.OnceValues(schema.New)

// load sorts documents into Objects, or says all that is wrong with them.
func load(ctx context.Context, docs []document, problems Problems, opts Options) (*Objects, error) {
	checker, err := checker()
	if err != nil {
		return nil, err
	}
	out := &Objects{places: map[objectKey]document{}}
	for _, d := range docs {
		reasons, err := out.add(ctx, checker, d, opts)
		if err != nil {
			return nil, err
		}
		for _, r := range reasons {
			problems = append(problems, d.problem(r))
		}
	}
	if err := problems.sorted(); err != nil {
		return nil, err
	}
	return out, nil
}

// add takes one document in and returns what is wrong with it.
func (o *Objects) add(ctx context.Context, checker *schema.Checker, d document, opts Options) ([]string, error) {
	u := d.object
	gvk := u.GroupVersionKind()
	if gvk.Version == "" {
		return []string{fmt.Sprintf("apiVersion is missing or malformed: %q", u.GetAPIVersion())}, nil
	}
	r, ok := readers[gvk]
	switch {
	case !ok && opts.IgnoreUnknownKinds:
		return nil, nil
	case !ok:
		return []string{unknownKind(gvk)}, nil
	case notText(u, "name") != "":
		return []string{notText(u, "name")}, nil
	case notText(u, "namespace") != "":
		return []string{notText(u, "namespace")}, nil
	case u.GetName() == "":
		return []string{"metadata.name is missing"}, nil
	case r.namespaced && u.GetNamespace() == "":
		u.SetNamespace("default")
	case !r.namespaced && u.GetNamespace() != "":
		return []string{fmt.Sprintf("metadata.namespace is %q, but a %s is in no namespace: remove it", u.GetNamespace(), gvk.Kind)}, nil
	}
	key := objectKey{gvk.GroupKind(), u.GetNamespace(), u.GetName()}
	if first, ok := o.places[key]; ok {
		return []string{fmt.Sprintf("the same object stands at %s:%d: remove one", first.file, first.line)}, nil
	}
	o.places[key] = d
	if checker.Knows(gvk) {
		errs, err := checker.Check(ctx, u)
		if err != nil {
			return nil, err
		}
		if len(errs) > 0 {
			reasons := make([]string, len(errs))
			for i, e := range errs {
				reasons[i] = e.Error()
			}
			return reasons, nil
		}
	}
	if err := r.read(o, u); err != nil {
		return []string{err.Error()}, nil
	}
	return nil, nil
}

// notText complains about a name that YAML reads as something else: n and yes
// are truths to it, 10 is a number.
func notText(u *unstructured.Unstructured, key string) string {
	value, found, err := unstructured.NestedFieldNoCopy(u.Object, "metadata", key)
	if _, ok := value.(string); ok || !found || err != nil || value == nil {
		return ""
	}
	return fmt.Sprintf("metadata.%s: YAML reads what stands there as %v, which is no text: put it in quotes", key, value)
}
