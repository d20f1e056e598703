//go:build guest

package runtime

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/test/vm/inside"
)

// life is the policy of the tests here.
var life = Row{Name: "life", Pod: "life", Spec: noRead + "\n" + noExec, Attacks: []string{"exec", "read"}}

// killed kills the agent. What is in force stays, for pods that there are and for those
// that start later.
func (s *stage) killed(t *testing.T, a *agent) {
	s.stopped("with the agent", "life", life)
	a.stop()
	s.stopped("after kill -9", "life", life)
	if out := s.first("life-later", life.Dir("exec")+"/denied"); strings.Contains(out, "ran\n") {
		t.Errorf("a pod that starts while there is no agent: %s", out)
	}
	if o := s.attackOnce(control, "exec", "/rows"); !o.Succeeded {
		t.Errorf("control: %+v", o)
	}
}

// stopped tries a row's attacks.
func (s *stage) stopped(when, pod string, r Row) {
	s.t.Helper()
	for _, name := range r.Attacks {
		if o, err := s.pod(pod).attacker.Attack(name, r.Dir(name)); err != nil || o.Errno != "EPERM" {
			s.t.Errorf("%s: %s: %+v %v", when, name, o, err)
		}
	}
}

// TestAfterReboot comes after TestPolicies on the same disk: nothing is pinned, no
// controller answers, and the agent enforces what it has.
func TestAfterReboot(t *testing.T) {
	if _, err := os.Stat(datapath.DefaultPinDir); err == nil {
		t.Fatalf("%s is there already", datapath.DefaultPinDir)
	}
	s := newStage(t, []Row{life})
	if out := s.first("life-later", life.Dir("exec")+"/denied"); out != "ran\n" {
		t.Fatalf("control: %s", out)
	}
	for _, tree := range rebooted.Trees(files) {
		must(t, tree.Write("/"))
	}
	if through, errnos := tryOnNode(t, rebooted); len(through) != 2*len(rebooted.Attacks) {
		t.Fatalf("control: of the node only %v succeeded: %v", through, errnos)
	}
	a := newAgent(t, stateDir)
	s.booted(a)
	a.start(a.last())
	answered(t, rebooted)
	s.stopped("after the reboot", "life", life)
	if out := s.first("life-later", life.Dir("exec")+"/denied"); strings.Contains(out, "ran\n") {
		t.Errorf("a pod that starts: %s", out)
	}
	fmt.Println("reboot: enforced from the disk alone")
}

// booted is what the host's unit does before kubelet runs: no agent runs after it, and
// what is on the disk holds, for the node's own processes and for a pod that starts.
func (s *stage) booted(a *agent) {
	out, err := exec.Command(inside.Agent, "boot", "--state-dir="+a.state()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "generation "+a.last().String()) {
		s.t.Fatalf("nodeagent boot: %s %v", out, err)
	}
	node := answered(s.t, rebooted)
	if out := s.first("life-later", life.Dir("exec")+"/denied"); strings.Contains(out, "ran\n") {
		s.t.Errorf("a pod that starts before any agent: %s", out)
	}
	fmt.Printf("reboot: by nodeagent boot alone: node %s\n", node)
}
