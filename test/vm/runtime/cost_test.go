//go:build guest

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/test/poll"
)

// TestCost prints what executing and opening cost, against no agent in the same run. The
// machine's clock counts instructions, so that these figures do not depend on what else
// runs. One policy applies to the container; however many others there are, no program
// of ours may take longer for it.
func TestCost(t *testing.T) {
	row := Row{Name: "cost", Pod: "cost", Spec: noRead + "\n" + noExec, Attacks: []string{"cost"}}
	s := newStage(t, []Row{row})
	a := newAgent(t, t.TempDir())
	counting, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	must(t, err)
	defer counting.Close()
	baseExec, baseOpen := s.cost(row)
	fmt.Printf("cost no-agent exec=%.0f open=%.0f instructions\n", baseExec, baseOpen)
	var few map[ebpf.ProgramID]float64
	for _, n := range []int{0, 10, 100, 1000} {
		a.enforce(manyPolicies(t, row, n))
		a.idle()
		before := programRuns(t)
		exec, open := s.cost(row)
		each := before.since(programRuns(t))
		if n <= 10 {
			few = each
		}
		id, growth := most(few, each)
		fmt.Printf("cost policies=%d exec=%.0f open=%.0f instructions exec-ratio=%.2f open-ratio=%.2f programs=%.2f\n",
			n, exec, open, exec/baseExec, open/baseOpen, growth)
		if growth > 1.15 {
			t.Errorf("program %d takes %.0f instructions with %d policies, and %.0f with 10", id, each[id], n, few[id])
		}
	}
	if len(few) < 4 {
		t.Errorf("executing and opening called %d programs of ours", len(few))
	}
}

// manyPolicies are n of which one is about the row's pod, and the rest about 20 others.
func manyPolicies(t *testing.T, row Row, n int) string {
	t.Helper()
	rows, pods := []Row{}, []string{row.Pod}
	for i := range n {
		r := row
		if i > 0 {
			r.Name, r.Pod = fmt.Sprintf("cost-%d", i), fmt.Sprintf("elsewhere-%d", i%20)
		}
		if i > 0 && i <= 20 {
			pods = append(pods, r.Pod)
		}
		rows = append(rows, r)
	}
	text, err := Manifests(rows, pods)
	must(t, err)
	return text
}

func (s *stage) cost(r Row) (exec, open float64) {
	s.t.Helper()
	x, err := s.pod(r.Pod).attacker.Begin("cost", r.Dir("cost"))
	must(s.t, err)
	line, err := x.Wait("cost ")
	must(s.t, err)
	if _, err := fmt.Sscanf(strings.TrimSpace(line), "cost exec=%f open=%f", &exec, &open); err != nil {
		s.t.Fatalf("%q: %v", line, err)
	}
	_, err = x.Result()
	must(s.t, err)
	return exec, open
}

// idle waits until the agent has done what a new snapshot makes it do.
func (a *agent) idle() {
	a.t.Helper()
	var last []byte
	poll.Pace{Every: 500 * time.Millisecond, For: 5 * time.Minute}.Until(a.t, "the agent has nothing to do", func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
		must(a.t, err)
		_, stat, _ = bytes.Cut(stat, []byte(") "))
		used := bytes.Join(bytes.Fields(stat)[11:13], nil) // ticks as a user and in the kernel
		if bytes.Equal(used, last) {
			return nil
		}
		last = used
		return fmt.Errorf("it has used %s ticks", used)
	})
}

// enough calls of a program for a mean.
const enough = 100

// runs are how often our programs ran, and how long.
type runs map[ebpf.ProgramID]*ebpf.ProgramStats

func programRuns(t *testing.T) runs {
	t.Helper()
	out := runs{}
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return out
		}
		must(t, err)
		id = next
		p, err := ebpf.NewProgramFromID(id)
		must(t, err)
		info, err := p.Info()
		must(t, err)
		if strings.HasPrefix(info.Name, "palisade") {
			out[id], err = p.Stats()
		}
		must(t, errors.Join(err, p.Close()))
	}
}

// since returns the mean of each program that ran often enough between the two.
func (r runs) since(later runs) map[ebpf.ProgramID]float64 {
	each := map[ebpf.ProgramID]float64{}
	for id, s := range later {
		before := r[id]
		if before == nil {
			before = &ebpf.ProgramStats{}
		}
		if n := s.RunCount - before.RunCount; n >= enough {
			each[id] = float64(s.Runtime-before.Runtime) / float64(n)
		}
	}
	return each
}

// most is the program that grew most.
func most(few, many map[ebpf.ProgramID]float64) (id ebpf.ProgramID, growth float64) {
	for i, n := range few {
		if g := many[i] / n; g > growth {
			id, growth = i, g
		}
	}
	return id, growth
}
