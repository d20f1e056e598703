package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func writeBundle(t *testing.T, root, path, name string) {
	t.Helper()
	file := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	text := `{"annotations": {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "` + name + `"}}`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The agent's own mount comes first: what it opens by way of the host's first process is
// the host's, and policies about files may deny that to the agent's pod.
func TestBundlesOfTheAgentsOwnMount(t *testing.T) {
	proc, dir := t.TempDir(), t.TempDir()
	host := filepath.Join(proc, "1/root")
	own, others := filepath.Join(dir, "own"), filepath.Join(dir, "others")
	c := Config{Proc: proc, Bundles: []string{own[1:] + "/*/config.json", others[1:] + "/*/config.json"}}
	writeBundle(t, "/", own+"/a/config.json", "mounted")
	writeBundle(t, host, own+"/a/config.json", "of the host")
	writeBundle(t, host, own+"/b/config.json", "of the host")
	writeBundle(t, host, others+"/d/config.json", "only of the host")
	for id, want := range map[string]string{"a": "mounted", "b": "", "d": "only of the host"} {
		got, err := c.describe(id)
		if got.Name != want || (want == "") != errors.Is(err, errNoBundle) {
			t.Errorf("container %s is called %q (%v), not %q", id, got.Name, err, want)
		}
	}
}
