//go:build guest

package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/container"
)

// told is the policy of the test here.
var told = Row{Name: "told", Pod: "told", Attacks: []string{"exec"}, Spec: `
executables:
  rules:
  - {name: slow, action: Deny, paths: [$dir/denied], rateLimit: 1, severity: High, message: not this one, tags: [told]}
  - {name: flags, action: Audit, paths: [/bin/busybox], arguments: ["--token=**"], message: no secrets in arguments}
privileges: {rules: [{name: mounts, action: Deny, operations: [Mount]}]}
`}

const (
	toldTimes  = 60
	toldSecret = "hunter2hunter2"
	toldExit   = 42
)

// TestRecords: what a rule reports is as much as it says, the rest is counted under its
// name; arguments are judged by an Audit rule, and no record holds the secret in them.
func TestRecords(t *testing.T) {
	s := newStage(t, []Row{told})
	a := newAgent(t, t.TempDir())
	text, err := Manifests([]Row{told}, []string{"told"})
	must(t, err)
	a.enforce(text)
	p, err := s.node.Prepare(container.PodSpec{Namespace: Namespace, Name: "told", UID: UID("told"), Bare: true})
	must(t, err)
	must(t, p.StartSandbox())
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do %s/denied; i=$((i+1)); done; /bin/busybox true --plain; /bin/busybox true --token=%s; "+
		"/bin/busybox readlink /proc/self/ns/mnt; /bin/busybox mount -t tmpfs none /tmp; /bin/busybox sh -c 'exit %d'",
		toldTimes, told.Dir("exec"), toldSecret, toldExit)
	out, _, err := p.Run(container.Spec{Name: "app", Args: []string{"/bin/busybox", "sh", "-c", script}})
	must(t, err)
	must(t, p.Close())
	if strings.Contains(out, "ran\n") {
		t.Fatalf("it ran: %s", out)
	}
	var denied, lost, staged, plain int
	var mount, exit *events.Event
	poll.Until(t, "every denial is told or counted", func() error {
		data, err := os.ReadFile(a.records())
		if err != nil {
			return err
		}
		if bytes.Contains(data, []byte(toldSecret)) {
			t.Fatal("the secret is on record")
		}
		denied, lost, staged, plain = 0, 0, 0, 0
		for line := range bytes.Lines(data) {
			err := events.Read(line, func(e events.Event) error {
				switch {
				case e.Verdict == flows.Deny && e.Rule == "executables/slow":
					denied++
					if e.Severity != "High" || e.Message != "not this one" || !slices.Equal(e.Tags, []string{"told"}) {
						t.Errorf("severity, message or tags: %s", line)
					}
				case e.Exec != nil && slices.Contains(e.Exec.Arguments, "--token=***"):
					staged++
					if e.Staged == nil || e.Staged.Verdict != flows.Deny || e.Staged.Rule != "executables/flags" || e.Staged.Message == "" {
						t.Errorf("staged: %s", line)
					}
				case e.Exec != nil && slices.Contains(e.Exec.Arguments, "--plain"):
					plain++
					if e.Staged != nil {
						t.Errorf("staged: %s", line)
					}
				case e.Rule == "privileges/mounts":
					mount = &e
				case e.Process.ExitCode != nil && *e.Process.ExitCode == toldExit:
					exit = &e
				}
				return nil
			}, func(l flows.Losses) error {
				if l.Rule == "executables/slow" {
					lost += int(l.Lost)
				}
				return nil
			})
			var incomplete *json.SyntaxError
			if err != nil && !errors.As(err, &incomplete) {
				return err
			}
		}
		if denied+lost < toldTimes || staged == 0 || plain == 0 || mount == nil || exit == nil {
			return fmt.Errorf("%d denials told and %d lost of %d; %d with the flag, %d without; %v, %v", denied, lost, toldTimes, staged, plain, mount, exit)
		}
		return nil
	})
	if denied+lost != toldTimes || denied == 0 || lost == 0 || staged != 1 || plain != 1 {
		t.Errorf("%d denials told and %d lost of %d; %d with the flag, %d without", denied, lost, toldTimes, staged, plain)
	}
	tellsWho(t, mount, out)
	if exit.Type != events.TypeExit || exit.Process.Executable != "/bin/busybox" {
		t.Errorf("an end: %+v", exit)
	}
	fmt.Printf("records: %d denials by a rule of one a second: %d told, %d counted as lost; arguments judged, secret left out\n", toldTimes, denied, lost)
}

// tellsWho checks who a mount was denied to by a record: a child of the container's shell,
// which printed the name of its mount namespace.
func tellsWho(t *testing.T, e *events.Event, printed string) {
	t.Helper()
	var namespace uint32
	if _, text, ok := strings.Cut(printed, "mnt:["); !ok {
		t.Fatalf("no namespace in %q", printed)
	} else if _, err := fmt.Sscan(strings.SplitN(text, "]", 2)[0], &namespace); err != nil {
		t.Fatal(err)
	}
	p := e.Process
	switch {
	case e.Verdict != flows.Deny || e.Privilege == nil || !slices.Contains(e.Privilege.Operations(), "Mount"):
		t.Errorf("what: %+v", e)
	case e.Pod == nil || e.Pod.Name != told.Pod || e.Container == nil || e.Container.Image != "example.test/attack:1":
		t.Errorf("where: %+v %+v", e.Pod, e.Container)
	case p.Executable != "/bin/busybox" || p.UID != 0 || p.GID != 0 || !slices.Contains(p.Capabilities, "SYS_ADMIN") || slices.Contains(p.Capabilities, "SYS_BOOT"):
		t.Errorf("who: %+v", p)
	case p.Namespaces["mnt"] != namespace || p.Namespaces["net"] == 0 || p.Namespaces["pid"] == 0 || p.Namespaces["user"] == 0:
		t.Errorf("namespaces %v, and the container is in %d", p.Namespaces, namespace)
	case len(e.Ancestors) == 0 || e.Ancestors[0].Executable != "/bin/busybox" || e.Ancestors[0].PID == p.PID:
		t.Errorf("ancestors: %+v", e.Ancestors)
	}
}
