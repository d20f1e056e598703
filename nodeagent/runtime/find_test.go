package runtime

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cilium/ebpf/ringbuf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// TestNamesAfterARestart: what a container is called is found out although the record of
// its cgroup went to an agent that is no more, and so are records of cgroups below.
func TestNamesAfterARestart(t *testing.T) {
	bundles := t.TempDir()
	adjust := func(c *Config) { c.Bundles = []string{bundles[1:] + "/*/config.json"} }
	n := newNode(t, adjust)
	rule := snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/denied"}}
	n.applyTo("server", nil, rule) // programs are there before the pod is
	b := newBox(t)
	n.applyTo("server", []*box{b}, rule)
	events, err := ringbuf.NewReader(n.r.maps[bpf.MapRuntimeEvents])
	must(t, err)
	for told := false; !told; {
		raw, err := events.Read()
		must(t, err)
		rec, err := decode(raw.RawSample)
		must(t, err)
		told = rec.Kind == bpf.RuntimeEventCgroup && rec.Path == b.id
	}
	must(t, events.Close())
	n.close()

	writeBundle(t, bundles, b.id+"/config.json", "server")
	n.open(adjust)
	got, stop := n.read()
	until(t, "the container has its name", func() bool {
		var info os.FileInfo
		info, err = os.Stat(b.cgroup)
		must(t, err)
		return n.r.unnamed.container(inode(info)).Name == "server"
	})
	below := *b
	below.cgroup = container(t, b.cgroup, "nested")
	for name, box := range map[string]*box{"itself": b, "a cgroup below": &below} {
		before := len(got.of("/bin/denied"))
		out, err := box.run(t, "/bin/denied")
		n.stopped(name, out, err)
		until(t, name+": it is told", func() bool { return len(got.of("/bin/denied")) > before })
		if c := got.of("/bin/denied")[before].Container; c.Name != "server" || c.ID != b.id {
			t.Errorf("%s: the record is of container %q, %s, not of server, %s", name, c.Name, c.ID, b.id)
		}
	}
	stop()
}

// TestCgroupRoots: where hierarchies are, by what the host has mounted.
func TestCgroupRoots(t *testing.T) {
	proc := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(proc, "1/root/cg/pids"), 0o755))
	must(t, os.MkdirAll(filepath.Join(proc, "1/root/cg/unified"), 0o755))
	for _, dir := range []string{"pids", "unified"} {
		must(t, os.WriteFile(filepath.Join(proc, "1/root/cg", dir, "cgroup.procs"), nil, 0o644))
	}
	must(t, os.WriteFile(filepath.Join(proc, "1/mounts"), []byte(
		"cgroup /cg/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup /cg/pids cgroup rw,relatime,pids 0 0\ncgroup2 /cg/unified cgroup2 rw 0 0\n"), 0o644))
	for h, want := range map[hierarchy]string{
		{controller: bpf.HierarchyUnified, name: "unified"}: "unified",
		{id: 3, controller: 8, name: "pids"}:                "pids",
		{id: 4, controller: 9, name: "cpu"}:                 "",
	} {
		got, err := h.root(proc)
		if want == "" && err == nil || want != "" && got != filepath.Join(proc, "1/root/cg", want) {
			t.Errorf("hierarchy %s is at %q (%v), not %q", h.name, got, err, want)
		}
	}
}

func inode(info os.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }
