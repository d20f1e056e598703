package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/nodeagent/events"
)

// TestDetached: a link that somebody took off its hook is attached again, by the audit and
// by an agent that starts, although its pin is there.
func TestDetached(t *testing.T) {
	n := newNode(t)
	if n.r.Backends()[Network].Means != events.Cgroup {
		t.Skip("sockets are judged by hooks that cannot be taken off here")
	}
	n.apply(nil, denyDenied)
	name := n.cgroupHook()
	must(t, n.r.links[name].Detach())
	repaired, err := n.r.Audit()
	must(t, err)
	if !slices.Equal(repaired, []string{name}) {
		t.Errorf("the audit repaired %q, want %s", repaired, name)
	}
	if repaired, err = n.r.Audit(); err != nil || len(repaired) > 0 {
		t.Errorf("the next audit repaired %q, %v", repaired, err)
	}

	must(t, n.r.links[name].Detach())
	n.close()
	n.open()
	n.apply(nil, denyDenied)
	info, err := n.r.links[name].Info()
	must(t, err)
	if info.Cgroup().CgroupId == 0 {
		t.Error("another agent takes a link for attached that is not")
	}
}

// cgroupHook is one of those whose link can be taken off.
func (n *node) cgroupHook() string {
	n.t.Helper()
	for _, at := range n.r.present {
		if at.means == events.Cgroup && n.r.links[at.name] != nil {
			return at.name
		}
	}
	n.t.Skip("this kernel has no such hook that can judge")
	return ""
}

// TestStrangeHook: what another agent attached where this one has nothing goes.
func TestStrangeHook(t *testing.T) {
	n := newNode(t)
	n.apply(nil, denyDenied)
	at := place{hook{name: "bind_by_another", cgroup: ebpf.AttachCGroupInet4Bind}, events.Cgroup}
	_, _, err := n.r.array(at)
	must(t, err)
	program, err := ebpf.NewProgram(at.dispatcher(kind{ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Bind, "", "Dual BSD/GPL"}, n.r.arrays[at.name]))
	must(t, err)
	must(t, errors.Join(n.r.attachAt(at, program), program.Close()))
	pins := []string{n.r.linkPin(at), filepath.Join(n.r.config.PinDir, arrayPrefix+at.key())}
	for _, path := range pins {
		_, err := os.Stat(path)
		must(t, err)
	}
	others, err := filepath.Glob(filepath.Join(n.r.config.PinDir, "*"))
	must(t, err)
	n.close()
	n.open()
	n.apply(nil, denyDenied)
	for _, path := range others {
		_, err := os.Stat(path)
		if strange := slices.Contains(pins, path); strange != errors.Is(err, os.ErrNotExist) {
			t.Errorf("pin %s of another agent: %v, goes: %v", path, err, strange)
		}
	}
}
