//go:build guest

package runtime

import (
	"os"
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/datapath"
)

// life is the policy of the tests here.
var life = Row{Name: "life", Pod: "life", Spec: noRead + "\n" + noExec, Attacks: []string{"exec", "read"}}

// disk is what outlives the guest.
const disk = "/disk/runtime"

// TestAgentKilled: what is in force stays when the agent is gone, for pods that
// there are and for those that start later.
func TestAgentKilled(t *testing.T) {
	s := newStage(t, []Row{life})
	a := newAgent(t, t.TempDir())
	text, err := Manifests([]Row{life}, []string{"life", "life-later", control})
	must(t, err)
	a.enforce(strings.Replace(text, "labels: {pod: life-later}", "labels: {pod: life}", 1))
	s.stopped("with the agent", "life", life)
	a.stop()
	s.stopped("after kill -9", "life", life)
	if out := s.first("life-later", life.Dir("exec")+"/denied"); strings.Contains(out, "ran\n") {
		t.Errorf("a pod that starts while there is no agent: %s", out)
	}
	if o, err := s.pod(control).attacker.Attack("exec", life.Dir("exec")); err != nil || !o.Succeeded {
		t.Errorf("control: %+v %v", o, err)
	}
	a.begin()
	s.stopped("while the agent starts", "life", life)
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

// TestRuntimeBeforeReboot leaves a policy in force, and on the disk.
func TestRuntimeBeforeReboot(t *testing.T) {
	s := newStage(t, []Row{life})
	must(t, os.MkdirAll(disk, 0o700))
	a := newAgent(t, disk)
	text, err := Manifests([]Row{life}, []string{"life"})
	must(t, err)
	a.enforce(text)
	s.stopped("before the reboot", "life", life)
}

// TestRuntimeAfterReboot: nothing is pinned, no controller answers, and the agent
// enforces what is on its disk, from the first pod on.
func TestRuntimeAfterReboot(t *testing.T) {
	if _, err := os.Stat(datapath.DefaultPinDir); err == nil {
		t.Fatalf("%s is there already", datapath.DefaultPinDir)
	}
	s := newStage(t, []Row{life})
	if out := s.first("control", life.Dir("exec")+"/denied"); out != "ran\n" {
		t.Fatalf("control: %s", out)
	}
	a := newAgent(t, disk)
	a.start(a.last())
	s.stopped("after the reboot", "life", life)
}
