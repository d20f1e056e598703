//go:build guest

package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/test/vm/container"
)

// Starting pods is slow under emulation: a normal run starts some.
const (
	allStarts    = 1000
	normalStarts = 16
	// byRunc is how many starts there are for one by runc, in a full run. To the
	// kernel the others are the same: a process of the node goes into the
	// container's cgroup, takes its root, and executes.
	byRunc = 20
)

func starts() int {
	if os.Getenv(FullVariable) != "" {
		return allStarts
	}
	return normalStarts
}

// TestStartRace: the first program of a pod's first container is what the strictest
// union of the pod's containers forbids. Nobody knows yet which container it is,
// and every second pod starts while the agent is killed and started.
func TestStartRace(t *testing.T) {
	n := starts()
	row := Row{
		Name: "race", Pod: "race", Attacks: []string{"exec"},
		Spec: "subject: {pods: {matchLabels: {pod: race}}, containers: [app]}\n" + noExec,
	}
	s := newStage(t, []Row{row})
	text, err := Manifests([]Row{row}, []string{control})
	must(t, err)
	for i := range n {
		pod := PodManifest("race-"+strconv.Itoa(i), UID("race-"+strconv.Itoa(i)), i+1)
		text += "---\n" + strings.Replace(pod, "labels: {pod: race-"+strconv.Itoa(i)+"}", "labels: {pod: race}", 1)
	}
	a := newAgent(t, t.TempDir())
	a.enforce(text)
	program := row.Dir("exec") + "/denied"
	if out := s.first(control, program); out != "ran\n" {
		t.Fatalf("control: a pod without a policy printed %s", out)
	}
	stopped := 0
	restarts := newRestarts(a)
	for i := range n {
		if i == n/2 {
			restarts.begin()
		}
		start := s.first
		if i%byRunc != 0 && n > normalStarts {
			start = s.firstQuickly
		}
		out := start("race-"+strconv.Itoa(i), program)
		if strings.Contains(out, "ran\n") || !strings.Contains(strings.ToLower(out), "not permitted") {
			t.Errorf("pod %d: %s", i, out)
			continue
		}
		stopped++
	}
	restarts.end()
	fmt.Printf("start race: ran %d of %d pod starts, %d stopped, %d restarts of the agent in between\n", n, allStarts, stopped, restarts.n)
	if restarts.n == 0 {
		t.Error("the agent was never started again in between")
	}
}

// first starts a pod, runs its first program to the end, and removes it.
func (s *stage) first(name, program string) string {
	s.t.Helper()
	p, err := s.node.Prepare(container.PodSpec{Namespace: Namespace, Name: name, UID: UID(name), Bare: true})
	must(s.t, err)
	must(s.t, p.StartSandbox())
	out, _, err := p.Run(container.Spec{Name: "app", Args: []string{program}})
	must(s.t, err)
	must(s.t, p.Close())
	return out
}

// firstQuickly is first without runc.
func (s *stage) firstQuickly(name, program string) string {
	s.t.Helper()
	p, err := s.node.Prepare(container.PodSpec{Namespace: Namespace, Name: name, UID: UID(name), Bare: true})
	must(s.t, err)
	must(s.t, p.StartSandbox())
	cgroup, root, err := p.Root("app")
	must(s.t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"PALISADE_VM=1", roleVariable + "=starter", "CGROUP=" + cgroup, "ROOT=" + root, "PROGRAM=" + program}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		s.t.Fatalf("starter: %v", err)
	}
	must(s.t, p.Close())
	return string(out)
}

func init() { roles["starter"] = starter }

// starter becomes the first process of a container.
func starter() error {
	root := os.Getenv("ROOT")
	if err := os.WriteFile(filepath.Join(os.Getenv("CGROUP"), "cgroup.procs"), []byte("0"), 0); err != nil {
		return err
	}
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount(root, root, "", unix.MS_BIND, ""),
		unix.Chdir(root), unix.PivotRoot(".", "."), unix.Unmount(".", unix.MNT_DETACH), unix.Chdir("/"),
	); err != nil {
		return err
	}
	return unix.Exec(os.Getenv("PROGRAM"), []string{"program"}, nil)
}

// restarts kills an agent and starts it, again and again.
type restarts struct {
	a    *agent
	n    int
	stop chan struct{}
	done chan struct{}
}

func newRestarts(a *agent) *restarts {
	return &restarts{a: a, stop: make(chan struct{}), done: make(chan struct{})}
}

func (r *restarts) begin() {
	go func() {
		defer close(r.done)
		for {
			r.a.stop()
			r.a.begin()
			r.n++
			r.a.settle(r.stop)
			select {
			case <-r.stop:
				return
			default:
			}
		}
	}()
}

func (r *restarts) end() {
	close(r.stop)
	<-r.done
}
