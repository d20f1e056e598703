package library_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/config/library"
)

const docs = "../../docs/library"

func policies(t *testing.T) map[string]string {
	t.Helper()
	p, err := library.Policies()
	if err != nil {
		t.Fatal(err)
	}
	if len(p) == 0 {
		t.Fatal("the library is empty")
	}
	return p
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(docs, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Every policy has a page, every page a policy, and the table has both.
func TestPages(t *testing.T) {
	p := policies(t)
	files, err := filepath.Glob(docs + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".md"); name != "README" && p[name] == "" {
			t.Errorf("%s: the library has no such policy", file)
		}
	}
	table := read(t, "README.md")
	for name, manifest := range p {
		text := read(t, name+".md")
		for _, heading := range []string{"What it stops", "What it leaves alone", "What it does not stop", "Opting in", "An exception", "The record of a denial"} {
			if !strings.Contains(text, "\n## "+heading) {
				t.Errorf("%s.md: no heading %q", name, heading)
			}
		}
		row := regexp.MustCompile(`(?m)^\| \[` + name + `\]\(` + name + `\.md\).*$`).FindString(table)
		if row == "" {
			t.Errorf("README.md: no row for %s", name)
		}
		if asks := library.OptIn(name); strings.Contains(manifest, asks) != strings.Contains(text, asks) {
			t.Errorf("%s.md and the policy differ about the label %s", name, asks)
		}
		for _, tag := range tags(t, name, manifest) {
			if !strings.Contains(text, tag) || !strings.Contains(row, tag) {
				t.Errorf("%s: the tag %s is not on its page and in the table", name, tag)
			}
		}
	}
}

var technique = regexp.MustCompile(`^T\d{4}(\.\d{3})?$`)

// tags are those of a policy, one of which is an ATT&CK technique at least.
func tags(t *testing.T, name, manifest string) []string {
	t.Helper()
	var object struct {
		Metadata struct{ Name string }
		Spec     struct{ Tags []string }
	}
	first, _, _ := strings.Cut(manifest, "\n---\n")
	if err := yaml.Unmarshal([]byte(first), &object); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if object.Metadata.Name != name {
		t.Errorf("%s.yaml begins with %q", name, object.Metadata.Name)
	}
	if !slices.ContainsFunc(object.Spec.Tags, technique.MatchString) {
		t.Errorf("%s: no technique of ATT&CK among %q", name, object.Spec.Tags)
	}
	return object.Spec.Tags
}

// The kustomization has all but the policy that is to be copied.
func TestKustomization(t *testing.T) {
	var k struct{ Resources []string }
	data, err := os.ReadFile("kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, &k); err != nil {
		t.Fatal(err)
	}
	var want []string
	for name := range policies(t) {
		if name != "database-locked-down" {
			want = append(want, name+".yaml")
		}
	}
	slices.Sort(want)
	if !slices.Equal(k.Resources, want) {
		t.Errorf("it has %q, want %q", k.Resources, want)
	}
}

// A namespace may ask for all of them at once, and make every exception that the
// pages show.
func TestTogether(t *testing.T) {
	p := policies(t)
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		labels = append(labels, fmt.Sprintf("%s: \"true\"", library.OptIn(name)))
	}
	together := fmt.Sprintf(`apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop, %s}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: report, uid: 00000000-0000-4000-8000-000000000001, labels: {app: report}}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.1.0.1}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: database, uid: 00000000-0000-4000-8000-000000000002, labels: {app: database}}
spec: {nodeName: n1}
status: {podIPs: [{ip: 10.1.0.2}]}
`, strings.Join(labels, ", "))
	alone := rows(t, together)
	for _, name := range slices.Sorted(maps.Keys(p)) {
		together += "---\n" + strings.Replace(p[name], "namespace: default", "namespace: shop", 1)
		if n := rows(t, together); n <= alone {
			t.Errorf("with %s the node has %d rows, as without", name, n)
		} else {
			alone = n
		}
		for _, example := range examples(read(t, name+".md")) {
			if n := rows(t, together+"---\n"+example); n <= alone {
				t.Errorf("%s.md: the example makes no rows:\n%s", name, example)
			}
		}
	}
}

// The agents of this system are no subjects: they do on the node what policies are to
// keep workloads from.
func TestSparesThisSystem(t *testing.T) {
	system := `apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Namespace
metadata: {name: palisade-system, labels: {kubernetes.io/metadata.name: palisade-system}}
---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {kubernetes.io/metadata.name: default}}
---
apiVersion: v1
kind: Pod
metadata:
  namespace: palisade-system
  name: agent
  uid: 00000000-0000-4000-8000-000000000001
  labels: {app.kubernetes.io/name: palisade-nodeagent, app.kubernetes.io/part-of: palisade}
spec: {nodeName: n1, hostNetwork: true}
`
	alone := rows(t, system)
	for name, manifest := range policies(t) {
		if n := rows(t, system+"---\n"+manifest); n != alone {
			t.Errorf("with %s a node with nothing but an agent has %d rows, not %d", name, n, alone)
		}
	}
}

var block = regexp.MustCompile("(?s)```yaml\n(apiVersion.*?)```")

// examples are the whole objects that a page shows.
func examples(text string) []string {
	var out []string
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		// The selectors of examples are of other pods than these tests have.
		out = append(out, strings.ReplaceAll(m[1], "{matchLabels: {app: operator}}", "{}"))
	}
	return out
}

// rows is how many there are for the node.
func rows(t *testing.T, text string) int {
	t.Helper()
	file := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	objects, err := manifests.Read(t.Context(), []string{file}, manifests.Options{})
	if err != nil {
		t.Fatal(err)
	}
	world, err := objects.World(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	c, err := judge.Compile(world.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	return c.Nodes["n1"].Len() + c.Common.Len()
}
