package runtime

import (
	"os"
	"path/filepath"
	"testing"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/cmd/palisade/manifests"
)

func compile(t *testing.T, text string) *judge.Compiled {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rows.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	objects, err := manifests.Read(t.Context(), []string{file}, manifests.Options{})
	if err != nil {
		t.Fatal(err)
	}
	world, err := objects.World(when)
	if err != nil {
		t.Fatal(err)
	}
	c, err := judge.Compile(world.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every row's policy is one that a user could write.
func TestManifests(t *testing.T) {
	text, err := Manifests(Rows, Pods(Rows))
	if err != nil {
		t.Fatal(err)
	}
	c := compile(t, text)
	if n := c.Nodes[Node].Len(); n < len(Rows) {
		t.Errorf("%d rows for the node, of %d policies", n, len(Rows))
	}
}

// Every type's policies are ones that a user could write, and that fit into one pod.
func TestTypes(t *testing.T) {
	planned, rows := Plan()
	rows = append(rows, AcceptRows()...)
	text, err := Manifests(rows, Pods(rows))
	if err != nil {
		t.Fatal(err)
	}
	c := compile(t, text+Peers())
	if n := c.Nodes[Node].Len(); n < len(planned) {
		t.Errorf("%d rows for the node, of %d types with actions", n, len(planned))
	}
}
