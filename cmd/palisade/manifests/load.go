package manifests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/cmd/palisade/manifests/schema"
)

// Options change how manifests are read.
type Options struct {
	// IgnoreUnknownKinds leaves objects of unknown kinds out. Without it each is
	// a problem: a policy whose kind is misspelt must not vanish. Kinds of our own
	// group are never left out.
	IgnoreUnknownKinds bool
	// Stdin is what the path "-" reads.
	Stdin io.Reader
}

// Read reads the manifests of directories, those below them included, of single
// files, and of standard input, which is called "-".
func Read(ctx context.Context, paths []string, opts Options) (*Objects, error) {
	var docs []document
	var problems Problems
	for _, path := range paths {
		found, bad, err := readPath(path, opts)
		if err != nil {
			return nil, err
		}
		docs, problems = append(docs, found...), append(problems, bad...)
	}
	return load(ctx, docs, problems, opts)
}

// readPath reads one directory or file. Files go by the paths that the caller
// knows them by.
func readPath(path string, opts Options) ([]document, Problems, error) {
	if path == "-" && opts.Stdin != nil {
		data, err := io.ReadAll(opts.Stdin)
		if err != nil {
			return nil, nil, fmt.Errorf("-f -: %w", err)
		}
		docs, problems := readFile("-", data)
		return docs, problems, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("-f %s: %w", path, cause(err))
	}
	if !info.IsDir() {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, fmt.Errorf("-f %s: %w", path, cause(err))
		}
		docs, problems := readFile(path, data)
		return docs, problems, nil
	}
	docs, problems := readAll(os.DirFS(path))
	for i := range docs {
		docs[i].file = filepath.Join(path, docs[i].file)
	}
	for i := range problems {
		problems[i].File = filepath.Join(path, problems[i].File)
	}
	return docs, problems, nil
}

// cause is what stands behind an error about a path.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// FS reads all manifests of a file system.
func FS(ctx context.Context, fsys fs.FS, opts Options) (*Objects, error) {
	docs, problems := readAll(fsys)
	return load(ctx, docs, problems, opts)
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
	case !ok && opts.IgnoreUnknownKinds && gvk.Group != v1alpha1.GroupName:
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
		if reasons, err := checker.Check(ctx, u); err != nil || len(reasons) > 0 {
			return reasons, err
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
