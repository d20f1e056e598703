package runtime

import (
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/snapshot"
)

// TestInForceWithoutPackets: who only looks finds what is in force by the programs that
// judge processes, too: a kernel may have no others.
func TestInForceWithoutPackets(t *testing.T) {
	n := newNode(t)
	c := datapath.Config{PinDir: n.dir}
	inForce := func(companion datapath.CompanionInUse) snapshot.Generation {
		d, err := datapath.OpenReader(c, companion, layout.Update{})
		must(t, err)
		defer func() { must(t, d.Close()) }()
		g, _ := d.Generation()
		return g
	}
	if used, err := InUse(filepath.Join(n.dir, "none")); used != nil || err != nil {
		t.Errorf("of a directory that is not there: %v, %v", used, err)
	}
	if g := inForce(InUse); g != (snapshot.Generation{}) {
		t.Errorf("generation %s is in force before any was applied", g)
	}
	n.apply(nil, snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/denied"}})
	// The agent goes, and what judges packets with it.
	n.close()
	calls, err := ebpf.LoadPinnedMap(filepath.Join(n.dir, bpf.MapPrograms), nil)
	must(t, err)
	defer func() { must(t, calls.Close()) }()
	must(t, calls.Delete(bpf.SlotVerdict))
	if g := inForce(nil); g != (snapshot.Generation{}) {
		t.Errorf("generation %s is in force, although packets are not judged where they could be", g)
	}
	if g, want := inForce(InUse), (snapshot.Generation{Epoch: 1, Term: 1, Counter: 1}); g != want {
		t.Errorf("generation %s is in force, want %s", g, want)
	}
}
