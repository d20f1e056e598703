package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

var denyDenied = snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/denied"}}

// cgroupsOf is how many cgroups are bound to a box's container, itself among them.
func (n *node) cgroupsOf(b *box) (count int) {
	n.t.Helper()
	var about unix.Stat_t
	must(n.t, unix.Stat(b.cgroup, &about))
	var cgroup uint64
	var bound bpf.Bound
	all := n.r.maps[bpf.MapContainers].Iterate()
	for all.Next(&cgroup, &bound) {
		if bound.Root == about.Ino {
			count++
		}
	}
	must(n.t, all.Err())
	return count
}

// TestManyCgroups: a container that makes cgroups takes no more room than its share, and
// gets nowhere by them, be they side by side or one in another, by mkdir or by moving.
func TestManyCgroups(t *testing.T) {
	n := newNode(t)
	n.apply(nil, denyDenied) // programs are there before the pod is
	b := newBox(t)
	n.apply([]*box{b}, denyDenied)
	const some = 100
	deep := *b
	for i := range some {
		must(t, os.Mkdir(filepath.Join(b.cgroup, strconv.Itoa(i)), 0o755))
	}
	for range some {
		deep.cgroup = filepath.Join(deep.cgroup, "d")
		must(t, os.Mkdir(deep.cgroup, 0o755))
	}
	t.Cleanup(func() { removeBelow(t, b.cgroup) })
	if got := n.cgroupsOf(b); got != 65 {
		t.Errorf("%d cgroups of the container are bound, want its own and 64", got)
	}
	out, err := deep.run(t, "/bin/denied")
	n.stopped("in a cgroup that is not bound itself", out, err)
	out, err = deep.run(t, "/bin/app", "exec", "/bin/denied")
	n.stopped("by a process there", out, err)

	removeBelow(t, b.cgroup) // what goes makes room
	below := *b
	below.cgroup = container(t, b.cgroup, "below")
	if got := n.cgroupsOf(b); got != 2 {
		t.Errorf("%d cgroups of the container are bound once the others are gone, want 2", got)
	}
	out, err = below.run(t, "/bin/denied")
	n.stopped("in one that is", out, err)
}

// removeBelow removes the cgroups in one, which nobody may be in.
func removeBelow(t *testing.T, cgroup string) {
	t.Helper()
	var below []string
	must(t, filepath.WalkDir(cgroup, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != cgroup {
			below = append(below, path)
		}
		return err
	}))
	for _, path := range slices.Backward(below) {
		must(t, os.Remove(path))
	}
}

// TestNoRoom: where there is no room for a pod's cgroup, every section says that it does
// not judge everything, until there is.
func TestNoRoom(t *testing.T) {
	n := newNode(t)
	n.apply(nil, denyDenied)
	all := n.r.maps[bpf.MapContainers]
	keys, values := make([]uint64, all.MaxEntries()), make([]bpf.Bound, all.MaxEntries())
	for i := range keys {
		keys[i] = 1<<62 + uint64(i)
		values[i].Root = keys[i]
	}
	if _, err := all.BatchUpdate(keys, values, nil); err != nil && !strings.Contains(err.Error(), "argument list too long") {
		t.Fatal(err)
	}
	b := newBox(t)
	inside(t, b.cgroup)
	var seen uint64
	must(t, n.r.place(&seen))
	for s, backend := range n.r.Backends() {
		if message := backend.Message(s); !strings.Contains(message, "room for 65536 cgroups") {
			t.Errorf("%s: %q does not say that there is no room", s, message)
		}
	}
	if n, err := n.r.Unplaced(); err != nil || n == 0 {
		t.Errorf("%d cgroups are counted, %v", n, err)
	}

	if _, err := all.BatchDelete(keys, nil); err != nil && !strings.Contains(err.Error(), "key does not exist") {
		t.Fatal(err)
	}
	must(t, n.r.place(&seen))
	for s, backend := range n.r.Backends() {
		if message := backend.Message(s); strings.Contains(message, "room for") {
			t.Errorf("%s: %q although there is room", s, message)
		}
	}
	n.apply([]*box{b}, denyDenied)
	out, err := b.run(t, "/bin/denied")
	n.stopped("in a pod that was found again", out, err)
}
