//go:build guest

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/container"
)

// work does something of each section that is proposed, and says that it is done.
const work = `set -e
cd /rows
echo one >made
/bin/busybox mv made moved
/bin/busybox cat moved
/bin/busybox mkdir directory
/bin/busybox ln moved directory/linked
/bin/busybox chown 7 moved
/bin/busybox rm moved directory/linked
/bin/busybox true --done
echo worked
`

// TestProposed: from what a workload is seen to do by the kernel to a policy that, enforced,
// lets it do that and no more; and the same recording adds nothing to it.
func TestProposed(t *testing.T) {
	p := proposed{t: t, dir: t.TempDir(), stage: newStage(t, nil), agent: newAgent(t, t.TempDir())}
	pods := []string{"first", "second"}
	manifests, err := Manifests(nil, pods)
	must(t, err)
	sections := "--sections=executables,files,privileges"
	p.agent.enforce(manifests + "---\n" + p.palisade(0, "propose", "--learn", "--pod", Namespace+"/*", "--name=learned", sections))
	if out := p.do("first", work); !strings.Contains(out, "worked") {
		t.Fatalf("under a policy that observes: %s", out)
	}
	p.recorded("first", func(e events.Event) bool { return e.Exec != nil && slices.Contains(e.Exec.Arguments, "--done") })
	audited := p.palisade(0, "propose", "--events="+p.agent.records(), "--pod", Namespace+"/first", "--name=learned", sections)
	t.Log(audited)
	policy := p.file("policy.yaml", audited)
	again := p.palisade(0, "propose", "--events="+p.agent.records(), "--pod", Namespace+"/first", "--merge="+policy)
	if plain(again) != plain(audited) {
		t.Errorf("the same recording changes the policy; have\n%s", again)
	}
	p.palisade(0, "replay", "--events="+p.agent.records(), "-f", p.file("audited.yaml", manifests+"---\n"+audited))
	enforced := strings.Replace(audited, "mode: Audit", "mode: Enforce", 1)
	p.palisade(0, "replay", "--events="+p.agent.records(), "-f", p.file("enforced.yaml", manifests+"---\n"+enforced))

	p.agent.enforce(manifests + "---\n" + enforced)
	out := p.do("second", work+container.AttackProgram+" || echo other stopped $?\n")
	if !strings.Contains(out, "worked") || !strings.Contains(out, "other stopped 126") {
		t.Fatalf("under what was proposed: %s", out)
	}
	p.recorded("second", func(e events.Event) bool { return e.Exec != nil && e.Exec.Path == container.AttackProgram })
	added := p.palisade(0, "propose", "--events="+p.agent.records(), "--pod", Namespace+"/second", "--merge="+policy)
	before, after := strings.Split(plain(audited), "\n"), strings.Split(plain(added), "\n")
	more := slices.DeleteFunc(after, func(line string) bool { return slices.Contains(before, line) })
	if want := "- " + container.AttackProgram; len(more) != 1 || strings.TrimSpace(more[0]) != want {
		t.Errorf("a second recording adds %q, want %q", more, want)
	}
	fmt.Println("proposed: the work is untouched, another program is stopped, and the same recording adds nothing")
}

type proposed struct {
	t     *testing.T
	dir   string
	stage *stage
	agent *agent
}

// do runs a script in a pod.
func (p *proposed) do(pod, script string) string {
	p.t.Helper()
	on, err := p.stage.node.Prepare(container.PodSpec{Namespace: Namespace, Name: pod, UID: UID(pod), Bare: true})
	must(p.t, err)
	must(p.t, on.StartSandbox())
	out, _, err := on.Run(container.Spec{Name: "app", Args: []string{"/bin/busybox", "sh", "-c", script}})
	must(p.t, err)
	must(p.t, on.Close())
	return out
}

// recorded waits until the last thing that a pod did is on record.
func (p *proposed) recorded(pod string, last func(events.Event) bool) {
	p.t.Helper()
	poll.Until(p.t, "the work of "+pod+" is on record", func() error {
		data, err := os.ReadFile(p.agent.records())
		if err != nil {
			return err
		}
		done := errors.New("it is not")
		for line := range bytes.Lines(data) {
			err := events.Read(line, func(e events.Event) error {
				if e.Pod != nil && e.Pod.Name == pod && last(e) {
					done = nil
				}
				return nil
			}, func(l flows.Losses) error { return fmt.Errorf("lost: %s", l) })
			if err != nil {
				return err
			}
		}
		return done
	})
}

// palisade runs the command line.
func (p *proposed) palisade(code int, args ...string) string {
	p.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(CLI, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		p.t.Fatalf("%s: %v: %s%s", cmd, err, out, stderr.String())
	}
	return string(out)
}

func (p *proposed) file(name, text string) string {
	p.t.Helper()
	name = filepath.Join(p.dir, name)
	must(p.t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// plain leaves comments out.
func plain(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, strings.TrimRight(line, "\n"))
		}
	}
	return strings.Join(out, "\n")
}
