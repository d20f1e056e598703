//go:build guest

package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/test/vm/container"
)

// stage is a node with the pods in which rows take place.
type stage struct {
	t    *testing.T
	node *container.Node
	rows []Row
	pods map[string]*podOnStage

	stoppedStarts int
}

type podOnStage struct {
	*container.Pod
	attacker *container.Attacker
}

// files are what attacks need besides their tree.
var files = map[string]map[string]string{
	"loader":      {"dynamic": Echo},
	"load-module": {"module.ko": Module},
}

// newStage makes a node whose image holds what the rows' attacks need.
func newStage(t *testing.T, rows []Row) *stage {
	t.Helper()
	trees := []container.Tree{{At: "/rows"}}
	for _, r := range rows {
		if !r.Volume {
			trees = append(trees, r.Trees(files)...)
		}
	}
	node, err := container.NewNode(t.TempDir(), map[string]string{
		container.AttackProgram: Attack, Borrower: Attack, "/bin/busybox": Busybox, Loader: Loader, LibC: LibC,
	}, trees)
	must(t, err)
	s := &stage{t: t, node: node, rows: rows, pods: map[string]*podOnStage{}}
	t.Cleanup(func() {
		for _, p := range s.pods {
			must(t, p.Close())
		}
		must(t, node.Close())
	})
	return s
}

// pod starts a pod with a container for the attacks of its rows; for control it has
// those of all rows.
func (s *stage) pod(name string) *podOnStage {
	s.t.Helper()
	if p := s.pods[name]; p != nil {
		return p
	}
	spec := container.PodSpec{Namespace: Namespace, Name: name, UID: UID(name), SharePIDs: strings.Contains(name, "foreign")}
	spec.Bare = !spec.SharePIDs
	for _, r := range s.rows {
		if r.Volume && (r.PodName() == name || strings.HasPrefix(name, control)) {
			spec.Trees = append(spec.Trees, r.Trees(files)...)
		}
	}
	pod, err := s.node.Start(spec)
	must(s.t, err)
	p := &podOnStage{Pod: pod}
	s.pods[name] = p
	if spec.SharePIDs {
		other, err := pod.Attacker(container.Spec{Name: "other"})
		must(s.t, err)
		must(s.t, os.WriteFile(filepath.Join("/proc", other.PID(), "root/run/other"), nil, 0o644))
	}
	leak, err := os.Open(s.leaked())
	must(s.t, err)
	defer leak.Close()
	p.attacker, err = pod.Attacker(container.Spec{Name: "attacker", Leak: leak})
	if err != nil {
		s.t.Fatalf("pod %s: %v", name, err)
	}
	return p
}

// leaked is a directory of the node that its runtime leaves open in containers.
func (s *stage) leaked() string {
	dir := filepath.Join("/run/leaked")
	must(s.t, os.MkdirAll(dir, 0o755))
	must(s.t, os.WriteFile(dir+"/secret", []byte("secret of the node"), 0o600))
	must(s.t, os.WriteFile(dir+"/denied", container.Printing("ran"), 0o755))
	if _, err := os.Stat(dir + "/attack"); err != nil {
		must(s.t, container.Copy(Attack, dir+"/attack"))
	}
	return dir
}

// control begins the names of pods without a policy.
const control = "control"

func controlOf(r Row) string {
	if strings.HasPrefix(r.Pod, "foreign") {
		return control + "-foreign"
	}
	return control
}

// attack runs an attack of a row in a pod.
func (s *stage) attack(p *podOnStage, r Row, name string) (container.Outcome, error) {
	x, err := p.attacker.Begin(name, r.Dir(name))
	if err != nil {
		return container.Outcome{}, err
	}
	if name == "overwrite-runtime" {
		return s.visited(p, x)
	}
	if name == "take-over" {
		return s.prepared(p, x)
	}
	if r.Held {
		if _, err := x.Wait("ready"); err != nil {
			return container.Outcome{}, err
		}
		if err := x.Go(); err != nil {
			return container.Outcome{}, err
		}
	}
	return x.Result()
}

// visited sends a program of the node into the container, and looks whether its
// file has changed.
func (s *stage) visited(p *podOnStage, x *container.Attack) (container.Outcome, error) {
	program := "/run/visitor"
	if err := container.Copy(Busybox, program); err != nil {
		return container.Outcome{}, err
	}
	if _, err := x.Wait("ready"); err != nil {
		return container.Outcome{}, err
	}
	if err := x.Go(); err != nil {
		return container.Outcome{}, err
	}
	if err := visit(p.attacker.PID(), program); err != nil {
		return container.Outcome{}, err
	}
	o, err := x.Result()
	if err != nil {
		return o, err
	}
	data, err := os.ReadFile(program)
	if changed := strings.HasPrefix(string(data), "overwritten"); changed != o.Succeeded {
		err = errors.Join(err, fmt.Errorf("the attack says %v, but the file has changed: %v", o.Succeeded, changed))
	}
	return o, err
}

// prepared puts a process of the node into the container, as a container runtime does
// before it executes what is asked for.
func (s *stage) prepared(p *podOnStage, x *container.Attack) (container.Outcome, error) {
	if _, err := x.Wait("ready"); err != nil {
		return container.Outcome{}, err
	}
	fd, err := unix.Open(filepath.Join("/proc", p.attacker.PID(), "ns/pid"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return container.Outcome{}, err
	}
	defer unix.Close(fd)
	cmd := exec.Command(Busybox, "sleep", "60")
	cmd.Args = cmd.Args[1:]
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with what its children belong to
		err := unix.Setns(fd, unix.CLONE_NEWPID)
		if err == nil {
			err = cmd.Start()
		}
		result <- err
	}()
	if err := <-result; err != nil {
		return container.Outcome{}, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	if err := os.WriteFile(filepath.Join(p.attacker.Cgroup(), "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0); err != nil {
		return container.Outcome{}, err
	}
	if err := x.Go(); err != nil {
		return container.Outcome{}, err
	}
	return x.Result()
}

// visit runs a program of the node in namespaces of a container, as a container
// runtime's own first process does.
func visit(pid, program string) error {
	file, err := os.Open(program)
	if err != nil {
		return err
	}
	defer file.Close()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in the container's namespaces
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			result <- err
			return
		}
		for _, ns := range []string{"pid", "mnt"} {
			fd, err := unix.Open(filepath.Join("/proc", pid, "ns", ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				err = errors.Join(unix.Setns(fd, 0), unix.Close(fd))
			}
			if err != nil {
				result <- fmt.Errorf("namespace %s: %w", ns, err)
				return
			}
		}
		cmd := exec.Command("/proc/self/fd/3")
		cmd.Args = []string{"sleep", "2"}
		cmd.ExtraFiles = []*os.File{file}
		result <- cmd.Run()
	}()
	return <-result
}
