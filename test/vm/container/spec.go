package container

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// Spec says which container to make in a pod.
type Spec struct {
	Name string
	Args []string
	Env  []string
	Cwd  string
	// Leak leaves this directory of the node open in the container, as descriptor 3.
	Leak *os.File
}

type object = map[string]any

// all are the capabilities of a privileged container: an attack that fails for want
// of one would prove nothing.
var all = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_SYS_MODULE", "CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_MKNOD",
	"CAP_SETFCAP", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE", "CAP_SYSLOG",
}

// config is the bundle's config.json as containerd writes it.
func (c *Container) config(s Spec, sandbox bool) ([]byte, error) {
	mounts := []object{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755"}},
	}
	namespaces := []object{{"type": "mount"}}
	for kind, file := range map[string]string{"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"} {
		n := object{"type": kind}
		if !sandbox && !c.pod.Bare && (kind != "pid" || c.pod.SharePIDs) {
			n["path"] = filepath.Join("/proc", c.pod.sandbox.pid, "ns", file)
		}
		namespaces = append(namespaces, n)
	}
	annotations := object{
		"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": c.pod.sandboxID(c),
		"io.kubernetes.cri.sandbox-name": c.pod.Name, "io.kubernetes.cri.sandbox-namespace": c.pod.Namespace, "io.kubernetes.cri.sandbox-uid": c.pod.UID,
	}
	if !sandbox {
		annotations["io.kubernetes.cri.container-type"] = "container"
		annotations["io.kubernetes.cri.container-name"] = s.Name
		annotations["io.kubernetes.cri.image-name"] = "example.test/attack:1"
		mounts = append(mounts,
			object{"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": []string{"nosuid", "nodev"}},
			object{"destination": "/sys", "type": "sysfs", "source": "sysfs"},
			object{"destination": cgroups, "type": "cgroup", "source": "cgroup", "options": []string{"rw"}},
			object{"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": []string{"mode=755"}},
			object{"destination": "/data", "type": "bind", "source": filepath.Join(c.pod.volume, "data"), "options": []string{"bind", "rw"}},
		)
		namespaces = append(namespaces, object{"type": "cgroup"})
	}
	cwd := s.Cwd
	if cwd == "" {
		cwd = "/"
	}
	return json.Marshal(object{
		"ociVersion": "1.0.2",
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "args": s.Args, "cwd": cwd, "env": append([]string{"PATH=/bin"}, s.Env...),
			"capabilities": object{"bounding": all, "effective": all, "permitted": all},
		},
		"root":        object{"path": "rootfs"},
		"hostname":    c.pod.Name,
		"mounts":      mounts,
		"annotations": annotations,
		"linux": object{
			"cgroupsPath": c.cgroupsPath(),
			"namespaces":  namespaces,
			"resources":   object{"devices": []object{{"allow": true, "access": "rwm"}}},
		},
	})
}

func (p *Pod) sandboxID(c *Container) string {
	if p.sandbox == nil {
		return c.ID
	}
	return p.sandbox.ID
}

func (c *Container) cgroupsPath() string {
	name := c.ID
	if c.pod.Systemd {
		name = "cri-containerd-" + c.ID + ".scope"
	}
	return filepath.Join(c.pod.cgroup, name)
}
