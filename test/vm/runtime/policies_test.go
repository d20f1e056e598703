//go:build guest

package runtime

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"palisade.dev/palisade/test/vm/container"
)

// quiet kills who uses a capability, and not who would have been shown more with it.
var quiet = Row{Name: "quiet", Pod: "quiet", Spec: `privileges: {rules: [{name: admin, action: Kill, operations: [Capability], capabilities: [SYS_ADMIN]}]}`}

// stateDir is the agent's, on the disk that outlives the guest where there is one.
const stateDir = "/disk/runtime"

// TestPolicies is everything that one agent's life shows: starting one takes long under
// emulation, for all the programs that the verifier reads.
func TestPolicies(t *testing.T) {
	planned, actions := Plan()
	rows := slices.Concat(Rows, actions, AcceptRows(), kinds, []Row{quiet, life, race, swap(0)})
	s := newStage(t, rows)
	controls := map[string]string{}
	for _, r := range Rows {
		controls[r.Name] = s.control(r)
	}
	s.raceControl()
	held, before := s.hold(), s.before()
	dir := stateDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		dir = t.TempDir()
	}
	a := newAgent(t, dir)
	a.enforce(everything(t, rows))

	t.Run("bypasses", func(t *testing.T) { s.bypasses(t, controls, held) })
	t.Run("actions", func(t *testing.T) { s.actions(t, a, planned) })
	t.Run("quiet", func(t *testing.T) {
		if o := s.attackOnce(quiet.Pod, "list-attributes", "/dev"); !o.Succeeded {
			t.Errorf("the kernel looked whether a process may list all attributes: %+v", o)
		}
	})
	t.Run("kinds", func(t *testing.T) { s.kinds(t, before) })
	t.Run("starts", func(t *testing.T) { s.starts(t, 0, starts()/2) })
	t.Run("naming", tellNaming)
	t.Run("killed", func(t *testing.T) { s.killed(t, a) })
	t.Run("swap", func(t *testing.T) {
		rows[len(rows)-1] = swap(1)
		s.swap(t, a, everything(t, rows)+nodeManifest(t, rebooted))
	})
	s.tellStarts(t)
}

// everything is the manifests of all pods and policies.
func everything(t *testing.T, rows []Row) string {
	t.Helper()
	pods := Pods(rows)
	pods = slices.DeleteFunc(pods, func(p string) bool { return p == race.Pod || p == staticPod.Pod })
	text, err := Manifests(rows, append(pods, control, control+"-foreign"))
	must(t, err)
	var b strings.Builder
	b.WriteString(text)
	add := func(name, label string, i int) {
		b.WriteString("---\n" + strings.Replace(PodManifest(name, UID(name), i), "labels: {pod: "+name+"}", "labels: {pod: "+label+"}", 1))
	}
	add("life-later", life.Pod, 390)
	for i := range starts() {
		add("race-"+strconv.Itoa(i), race.Pod, 400+i)
	}
	b.WriteString(Peers())
	b.WriteString("---\n" + staticManifest(staticPod.Pod, configHash))
	return b.String()
}

// attackOnce runs one attack in a pod's attacking container.
func (s *stage) attackOnce(pod, name, dir string) container.Outcome {
	s.t.Helper()
	o, err := s.pod(pod).attacker.Attack(name, dir)
	if err != nil {
		s.t.Errorf("pod %s: %s: %v", pod, name, err)
	}
	return o
}
