package runtime

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/test/poll"
)

// TestNestedContainer: a container whose processes are in a cgroup of their own is found by
// the name of the container's, and only the container of that very pod has a say in it.
func TestNestedContainer(t *testing.T) {
	for name, c := range map[string]struct {
		pod  func(b *box) string
		want uint64
	}{
		"its own pod":  {func(b *box) string { return b.uid }, layout.ContainerName("app")},
		"another pod":  {func(*box) string { return randomUID(t) }, bpf.ContainerPending},
		"no pod known": {func(*box) string { return "" }, layout.ContainerName("app")},
	} {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			b := newBox(t)
			inside(t, container(t, b.cgroup, "leaf"))
			bundles := t.TempDir()
			must(t, os.Mkdir(filepath.Join(bundles, b.id), 0o755))
			bundle := fmt.Sprintf(`{"annotations": {"io.kubernetes.cri.container-name": "app", "io.kubernetes.cri.sandbox-uid": %q}}`, c.pod(b))
			must(t, os.WriteFile(filepath.Join(bundles, b.id, "config.json"), []byte(bundle), 0o600))

			n := newNode(t, func(rc *Config) { rc.Bundles = []string{strings.TrimPrefix(bundles, "/") + "/*/config.json"} })
			n.apply([]*box{b}, snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/denied"}})
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- n.r.Read(ctx, func(bpf.Key6) bool { return false }, func(Record) {}) }()
			var about unix.Stat_t
			must(t, unix.Stat(b.cgroup, &about))
			poll.Until(t, "the container is looked up", func() error {
				n.r.unnamed.mu.Lock()
				defer n.r.unnamed.mu.Unlock()
				if _, done := n.r.unnamed.known[about.Ino]; !done {
					return fmt.Errorf("cgroup %d is unknown", about.Ino)
				}
				return nil
			})
			stop()
			must(t, <-ended)
			var bound bpf.Bound
			must(t, n.r.maps[bpf.MapContainers].Lookup(about.Ino, &bound))
			if bound.Container.Name != c.want {
				t.Errorf("the container's name is %x, want %x", bound.Container.Name, c.want)
			}
			if got, named := n.named(), c.want != bpf.ContainerPending; (got == 1) != named {
				t.Errorf("the time to a name was measured %d times, named: %v", got, named)
			}
		})
	}
}

// named is how often the time was measured until a container had its name.
func (n *node) named() uint64 {
	n.t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(n.r.Collectors()...)
	families, err := reg.Gather()
	must(n.t, err)
	for _, f := range families {
		if f.GetName() == "palisade_nodeagent_container_naming_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	n.t.Fatal("no such metric")
	return 0
}

// inside starts a process in a cgroup, for as long as the test runs.
func inside(t *testing.T, cgroup string) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	})
	must(t, os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0))
}
