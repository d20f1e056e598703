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
)

// byRunc is how many starts there are for one by runc, which is slow. In the others a
// process with a mount namespace of its own goes into the container's cgroup by itself,
// takes its root, and executes.
func byRunc() int {
	if os.Getenv(FullVariable) != "" {
		return 20
	}
	return 2
}

func starts() int {
	if os.Getenv(FullVariable) != "" {
		return allStarts
	}
	return normalStarts
}

// race: the first program of a pod's first container is what the strictest union of
// the pod's containers forbids, while nobody knows which container it is.
var race = Row{
	Name: "race", Pod: "race", Attacks: []string{"exec"},
	Spec: "subject: {pods: {matchLabels: {pod: race}}, containers: [app]}\n" + noExec,
}

var raceProgram = race.Dir("exec") + "/denied"

func (s *stage) raceControl() {
	s.t.Helper()
	if out := s.first(control+"-start", raceProgram); out != "ran\n" {
		s.t.Fatalf("control: a pod without a policy printed %s", out)
	}
}

// starts starts the pods from one number to another, which must all be stopped.
func (s *stage) starts(t *testing.T, from, to int) {
	for i := from; i < to; i++ {
		start := s.first
		if i%byRunc() != 0 {
			start = s.firstQuickly
		}
		out := start("race-"+strconv.Itoa(i), raceProgram)
		if strings.Contains(out, "ran\n") || !strings.Contains(strings.ToLower(out), "not permitted") {
			t.Errorf("pod %d: %s", i, out)
			continue
		}
		s.stoppedStarts++
	}
}

func (s *stage) tellStarts(t *testing.T) {
	t.Helper()
	fmt.Printf("start race: ran %d of %d pod starts, %d stopped, half of them while the agent started again\n", starts(), allStarts, s.stoppedStarts)
	if s.stoppedStarts != starts() {
		t.Errorf("%d of %d starts were stopped", s.stoppedStarts, starts())
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
