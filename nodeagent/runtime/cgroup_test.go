package runtime

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
)

// TestCgroupNames: which cgroups are of pods, and what containers are called before the
// agent has looked.
func TestCgroupNames(t *testing.T) {
	n := newNode(t)
	n.apply(nil, denyDenied)
	uid := randomUID(t)
	hash := strings.ReplaceAll(randomUID(t), "-", "")
	for name, c := range map[string]struct {
		pod, container string
		uid            string // as which the pod is known; empty: as none
		want           uint64
	}{
		"cgroupfs":                   {"pod" + uid, random(t, 32), uid, bpf.ContainerSandbox},
		"cgroupfs, a static pod":     {"pod" + hash, random(t, 32), hash, bpf.ContainerSandbox},
		"systemd":                    {"kubepods-burstable-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice", "cri-containerd-" + random(t, 32) + ".scope", uid, bpf.ContainerSandbox},
		"systemd, an odd UID":        {"kubepods-podmirror.slice", "cri-containerd-" + random(t, 32) + ".scope", "mirror", bpf.ContainerSandbox},
		"CRI-O has no sandbox":       {"kubepods-besteffort-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice", "crio-" + random(t, 32) + ".scope", uid, bpf.ContainerPending},
		"podman's service":           {"podman.service", random(t, 32), "", 0},
		"a directory for podman":     {"podman", random(t, 32), "", 0},
		"longer than a UID":          {"pod" + uid + "0", random(t, 32), "", 0},
		"what merely begins as pods": {"kubepods-burstable.slice", random(t, 32), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := container(t, pod(t, c.pod), c.container)
			var about unix.Stat_t
			must(t, unix.Stat(dir, &about))
			var bound bpf.Bound
			err := n.r.maps[bpf.MapContainers].Lookup(about.Ino, &bound)
			if c.uid == "" {
				if err == nil {
					t.Errorf("it is bound: %+v", bound)
				}
				return
			}
			must(t, err)
			key := layout.PodKey(c.uid)
			if got := (bpf.Key6{High: bound.Container.UIDHigh, Low: bound.Container.UIDLow}); got != key || bound.Container.Name != c.want {
				t.Errorf("it is container %d of pod %x, want %d of %x", bound.Container.Name, got, c.want, key)
			}
		})
	}
}
