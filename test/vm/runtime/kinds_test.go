//go:build guest

package runtime

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/container"
)

// Rows whose pods are made by hand.
var (
	everyContainer = Row{Name: "every-container", Pod: "kinds", Spec: noExec, Attacks: []string{"exec"}}
	oneContainer   = Row{
		Name: "one-container", Pod: "kinds", Attacks: []string{"exec"},
		Spec: "subject: {pods: {matchLabels: {pod: kinds}}, containers: [app]}\n" + noExec,
	}
	pauseContainer = Row{
		Name: "pause-container", Pod: "paused", Attacks: []string{"exec"},
		Spec: "subject: {pods: {matchLabels: {pod: paused}}, containers: [pause]}\n" + `executables: {default: Deny}`,
	}
	systemdNames = Row{Name: "systemd-names", Pod: "systemd", Spec: noExec, Attacks: []string{"exec"}}
	staticPod    = Row{Name: "static-pod", Pod: "static", Spec: noExec, Attacks: []string{"exec"}}
)

// configHash is what kubelet calls a static pod by.
const configHash = "0123456789abcdef0123456789abcdef"

var kinds = []Row{everyContainer, oneContainer, pauseContainer, systemdNames, staticPod}

// existing is a pod with a container from before the agent.
type existing struct {
	pod *container.Pod
	app *container.Attacker
}

func (s *stage) before() existing {
	s.t.Helper()
	pod, err := s.node.Start(container.PodSpec{Namespace: Namespace, Name: everyContainer.Pod, UID: UID(everyContainer.Pod)})
	must(s.t, err)
	s.pods[everyContainer.Pod] = &podOnStage{Pod: pod}
	app, err := pod.Attacker(container.Spec{Name: "app"})
	must(s.t, err)
	return existing{pod, app}
}

// kinds tries containers of every kind, and what is none.
func (s *stage) kinds(t *testing.T, was existing) {
	before, app := was.pod, was.app
	path := func(r Row) string { return r.Dir("exec") + "/denied" }
	stops := func(what string, c *container.Container, program string) {
		t.Helper()
		out, code, err := c.Exec(program)
		if err != nil || code == 0 || strings.Contains(out, "ran\n") || !strings.Contains(strings.ToLower(out), "not permitted") {
			t.Errorf("%s: exit %d, %v: %s", what, code, err, out)
		}
	}
	o, err := app.Attack("exec", everyContainer.Dir("exec"))
	must(t, err)
	if o.Errno != "EPERM" {
		t.Errorf("a container from before the agent: %+v", o)
	}
	stops("exec into a container", app.Container, path(everyContainer))
	stops("exec into the container that a policy names", app.Container, path(oneContainer))
	if out, code, err := app.Exec("/rows/permit"); err != nil || code != 0 || out != "permitted\n" {
		t.Errorf("exec of what may run: exit %d, %v: %s", code, err, out)
	}

	// kubelet starts init containers before, ephemeral ones at any time: to the
	// kernel each is one more cgroup of the pod.
	debug, err := before.Attacker(container.Spec{Name: "debugger"})
	must(t, err)
	stops("an ephemeral container", debug.Container, path(everyContainer))
	// Until the agent knows which container it is, the strictest union counts.
	poll.Until(t, "a container that the policy does not name is known", func() error {
		out, _, err := debug.Exec(path(oneContainer))
		if err == nil && out != "ran\n" {
			return errOutput(out)
		}
		return err
	})
	out, code, err := before.Run(container.Spec{Name: "init", Args: []string{path(everyContainer)}})
	if err != nil || code == 0 || strings.Contains(out, "ran\n") {
		t.Errorf("a container's first program: exit %d, %v: %s", code, err, out)
	}

	s.kind(t, systemdNames, container.PodSpec{UID: UID("systemd"), Systemd: true}, false)
	s.kind(t, staticPod, container.PodSpec{UID: configHash}, false)
	paused, err := s.node.Prepare(container.PodSpec{Namespace: Namespace, Name: "paused", UID: UID("paused")})
	must(t, err)
	s.pods["paused"] = &podOnStage{Pod: paused}
	if runs, said, err := s.pods[systemdNames.Pod].SandboxRuns(); !runs || err != nil {
		t.Errorf("a sandbox that no policy names does not run: %v: %s", err, said)
	}
	must(t, paused.StartSandbox())
	switch runs, said, err := paused.SandboxRuns(); {
	case err != nil || runs || !strings.Contains(said, "not permitted"):
		t.Errorf("a pause container that may execute nothing: runs %v, %v: %s", runs, err, said)
	default:
		fmt.Println("pause-container control=succeeded policy=stopped errno=EPERM")
		tell(t, Result{Kernel: kernel(t), Row: pauseContainer.Name, What: "the sandbox, by a policy for the container pause", Result: Stopped})
	}

	host := exec.Command(s.node.Image() + path(everyContainer))
	if out, err := host.CombinedOutput(); err != nil || string(out) != "ran\n" {
		t.Errorf("the node's own process with such a path: %v: %s", err, out)
	}
}

type errOutput string

func (e errOutput) Error() string { return "it printed " + string(e) }

// kind starts a pod whose first container's program is denied.
func (s *stage) kind(t *testing.T, r Row, spec container.PodSpec, runs bool) {
	t.Helper()
	spec.Namespace, spec.Name = Namespace, r.Pod
	p, err := s.node.Start(spec)
	must(t, err)
	s.pods[r.Pod] = &podOnStage{Pod: p}
	out, code, err := p.Run(container.Spec{Name: "app", Args: []string{r.Dir("exec") + "/denied"}})
	if err != nil || strings.Contains(out, "ran\n") != runs {
		t.Errorf("%s: exit %d, %v: %s", r.Name, code, err, out)
	}
}

// staticManifest is the mirror that kubelet makes of a static pod.
func staticManifest(name, hash string) string {
	text := PodManifest(name, "99999999-0000-4000-8000-000000000001", 250)
	return strings.Replace(text, "metadata: {", `metadata: {annotations: {kubernetes.io/config.hash: "`+hash+`", kubernetes.io/config.mirror: "`+hash+`"}, `, 1)
}
