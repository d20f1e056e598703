package container

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Where containerd keeps the bundles of Kubernetes' containers.
const bundles = "/run/containerd/io.containerd.runtime.v2.task/k8s.io"

const (
	cgroups = "/sys/fs/cgroup"
	runc    = "/usr/sbin/runc"
)

// Node makes pods.
type Node struct {
	dir  string
	next atomic.Int64
}

// NewNode prepares a directory on a file system of its own, with an image and the
// pause container's. Files are copied into the image, target to source.
func NewNode(dir string, files map[string]string, trees []Tree) (*Node, error) {
	n := &Node{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	for _, d := range []string{"image/proc", "image/dev", "image/sys", "image/run", "image/data", "image/tmp", "pause/proc", "pause/dev"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	if err := write(filepath.Join(dir, "pause/pause"), program(pauseForever), false); err != nil {
		return nil, err
	}
	for to, from := range files {
		if err := Copy(from, filepath.Join(n.Image(), to)); err != nil {
			return nil, err
		}
	}
	for _, t := range trees {
		if err := t.Write(n.Image()); err != nil {
			return nil, fmt.Errorf("tree %s: %w", t.At, err)
		}
	}
	return n, nil
}

// Image is the directory that containers have as their image.
func (n *Node) Image() string { return filepath.Join(n.dir, "image") }

// Close removes what is left of the node.
func (n *Node) Close() error { return unix.Unmount(n.dir, unix.MNT_DETACH) }

// id is a number in containerd's form.
func (n *Node) id() string { return fmt.Sprintf("%064x", n.next.Add(1)) }

// PodSpec says which pod to make.
type PodSpec struct {
	Namespace, Name string
	UID             string // a UUID, or the hash of a static pod's configuration
	Systemd         bool   // cgroups are named as with systemd
	Trees           []Tree // on the volume /data
	SharePIDs       bool
	// Bare pods have a sandbox's cgroup and no process in it: they start quickly,
	// and their containers have namespaces of their own.
	Bare bool
}

// Pod is a pod's cgroup, volume and sandbox.
type Pod struct {
	PodSpec
	node       *Node
	cgroup     string
	volume     string
	sandbox    *Container
	containers []*Container
}

// Prepare makes a pod's cgroup and volume, as kubelet does before any container.
func (n *Node) Prepare(spec PodSpec) (*Pod, error) {
	p := &Pod{PodSpec: spec, node: n, volume: filepath.Join(n.dir, "volumes", spec.UID)}
	p.cgroup = "/kubepods/burstable/pod" + spec.UID
	if spec.Systemd {
		p.cgroup = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.ReplaceAll(spec.UID, "-", "_") + ".slice"
	}
	for _, dir := range []string{filepath.Join(cgroups, p.cgroup), filepath.Join(p.volume, "data")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	for _, t := range spec.Trees {
		if err := t.Write(p.volume); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Start makes a pod and starts its sandbox.
func (n *Node) Start(spec PodSpec) (*Pod, error) {
	p, err := n.Prepare(spec)
	if err != nil {
		return nil, err
	}
	return p, p.StartSandbox()
}

// StartSandbox starts the container that holds the pod's namespaces.
func (p *Pod) StartSandbox() error {
	if p.Bare {
		return os.Mkdir(filepath.Join(p.Cgroup(), p.node.id()), 0o755)
	}
	c, err := p.prepare(Spec{Args: []string{"/pause"}}, true)
	if err != nil {
		return err
	}
	p.sandbox = c
	errs, err := os.Create(c.said())
	if err != nil {
		return err
	}
	defer errs.Close()
	return c.detach(nil, nil, errs)
}

// SandboxRuns waits until the sandbox's first process is what it is to be, or has ended,
// and returns what was said then. A runtime that has let it go does not learn of its end.
func (p *Pod) SandboxRuns() (runs bool, said string, err error) {
	proc := filepath.Join("/proc", p.sandbox.pid)
	for range 500 {
		program, err := os.Readlink(filepath.Join(proc, "exe"))
		if err != nil { // also of a process that nobody has waited for
			text, err := os.ReadFile(p.sandbox.said())
			return false, string(text), err
		}
		if filepath.Base(program) == "pause" {
			return true, "", nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false, "", fmt.Errorf("pod %s: its sandbox neither runs nor ends", p.Name)
}

// Cgroup is the directory of the pod's cgroup.
func (p *Pod) Cgroup() string { return filepath.Join(cgroups, p.cgroup) }

// Close kills the pod's containers and removes what is theirs.
func (p *Pod) Close() error {
	var err error
	for i := len(p.containers) - 1; i >= 0; i-- {
		err = errors.Join(err, p.containers[i].remove())
	}
	// A cgroup goes when its last process has gone, which killing does not wait for.
	for range 100 {
		if gone := removeCgroup(p.Cgroup()); gone == nil {
			return errors.Join(err, os.RemoveAll(p.volume))
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.Join(err, fmt.Errorf("pod %s: its cgroup does not go", p.Name))
}

// removeCgroup removes a cgroup and those in it.
func removeCgroup(dir string) error {
	children, err := filepath.Glob(filepath.Join(dir, "*/cgroup.procs"))
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := removeCgroup(filepath.Dir(c)); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// command is one of runc's.
func command(args ...string) *exec.Cmd {
	return exec.Command(runc, append([]string{"--root", "/run/palisade-runc"}, args...)...)
}
