//go:build guest

package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/container"
	"palisade.dev/palisade/test/vm/inside"
)

// nodeRows are about processes of the node itself, outside of every container. Their
// policies have the node as their subject.
var nodeRows = []Row{
	{
		Name: "node-executables", What: "a process of the node executes", Attacks: []string{"exec", "exec-proc-root", "exec-descriptor", "script"},
		Spec: `executables: {rules: [{name: denied, action: Deny, paths: [$dir/denied]}]}`,
	},
	{
		Name: "node-kill", What: "a process of the node executes, or reads, what kills it", Attacks: []string{"exec", "script", "read"},
		Spec: `executables: {rules: [{name: denied, action: Kill, paths: [$dir/denied]}]}
files: {rules: [{name: secret, action: Kill, operations: [Read], paths: [$dir/secret]}]}`,
	},
	{
		Name: "node-files", What: "a process of the node reads", Attacks: []string{"read", "read-proc-root", "read-proc-1-root", "unshare-read"},
		Spec: `files: {rules: [{name: secret, action: Deny, operations: [Read], paths: [$dir/secret]}]}`,
	},
	{
		Name: "node-from", What: "a process of the node reads, by its executable", Attacks: []string{"read", "read-proc-root"},
		Spec: `files: {rules: [{name: secret, action: Deny, operations: [Read], paths: [$dir/secret], from: [` + Attack + `]}]}`,
	},
	{
		Name: "node-privileges", What: "a process of the node opens raw sockets", Attacks: []string{"raw-socket", "raw-socket-6", "packet-socket"},
		Spec: noPrivilege("RawSocket, PacketSocket"),
	},
	{
		Name: "node-network", What: "a process of the node connects", Attacks: []string{"connect", "connect-6", "udp-sendto"}, Spec: noPort,
	},
}

// shell is what nobody who descends from it may read a file by.
const shell = "/rows/shell/busybox"

// descends has no attacks: whoever reads does so by a program that may.
var descends = Row{Name: "node-descends", Spec: `files: {rules: [{name: secret, action: Deny, operations: [Read], paths: [/rows/descends], from: [` + shell + `]}]}`}

// nodeManifest is the row's policy about nodes.
func nodeManifest(t *testing.T, r Row) string {
	t.Helper()
	return r.about(t, map[string]any{"nodes": map[string]any{}})
}

// about is the row's policy with another subject.
func (r Row) about(t *testing.T, subject map[string]any) string {
	t.Helper()
	var rules map[string]any
	must(t, yaml.Unmarshal([]byte(r.Spec), &rules))
	out, err := yaml.Marshal(map[string]any{
		"apiVersion": "policy.palisade.dev/v1alpha1", "kind": "ClusterwidePolicy", "metadata": map[string]any{"name": r.Name},
		"spec": map[string]any{"tier": "Admin", "priority": 500, "subject": subject, "runtime": r.expand(rules)},
	})
	must(t, err)
	return "---\n" + string(out)
}

// rebooted is about the node's own processes, on the disk of TestPolicies' agent.
var rebooted = Row{
	Name: "node-rebooted", Attacks: []string{"exec", "read"},
	Spec: `executables: {rules: [{name: denied, action: Kill, paths: [$dir/denied]}]}
files: {rules: [{name: secret, action: Kill, operations: [Read], paths: [$dir/secret]}]}`,
}

// tried is how a program of the node ended.
type tried struct {
	succeeded bool
	errno     string
	said      string
}

// onNode runs an attack as a process of the node, perhaps with mounts of its own.
func onNode(t *testing.T, unshare uintptr, name, dir string) tried {
	t.Helper()
	cmd := exec.Command(Attack, name, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unshare}
	out, err := cmd.CombinedOutput()
	line := string(out)
	_, errno, _ := strings.Cut(line, "errno=")
	if exit := (&exec.ExitError{}); errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() {
		errno = unix.SignalName(exit.Sys().(syscall.WaitStatus).Signal()) // it was the one that asked
	}
	return tried{strings.Contains(line, "attack=succeeded"), strings.TrimSpace(errno), fmt.Sprintf("%s %v", line, err)}
}

// tryOnNode runs a row's attacks, with and without mounts of their own.
func tryOnNode(t *testing.T, r Row) (through []string, errnos []string) {
	t.Helper()
	found := map[string]bool{}
	for _, name := range r.Attacks {
		for where, flags := range map[string]uintptr{"": 0, "/own-mounts": unix.CLONE_NEWNS} {
			o := onNode(t, flags, name, r.Dir(name))
			if o.succeeded {
				through = append(through, name+where)
			} else {
				found[o.errno] = true
				t.Logf("%s: %s%s: %s", r.Name, name, where, o.said)
			}
		}
	}
	return through, slices.Sorted(maps.Keys(found))
}

// answered tries a row's attacks on the node under its policy, and says what came of them:
// each is stopped, and its process is killed if that is the action, and only then.
func answered(t *testing.T, r Row) string {
	t.Helper()
	through, errnos := tryOnNode(t, r)
	how := "stopped errno=" + strings.Join(errnos, ",")
	want := "EPERM"
	if strings.Contains(r.Spec, "action: Kill") {
		want = "SIGKILL"
	}
	switch {
	case len(through) > 0:
		how = "not-stopped(" + strings.Join(through, ",") + ")"
		t.Errorf("%s: %s: %s", r.Name, r.What, how)
	case how != "stopped errno="+want:
		t.Errorf("%s: another action than its policy's: %s", r.Name, how)
	}
	return how
}

// TestNode: what policies say of nodes holds for processes of the node itself, and for
// nobody else.
func TestNode(t *testing.T) {
	s := newStage(t, slices.Concat(nodeRows, []Row{life}))
	for _, r := range slices.Concat(nodeRows, []Row{life}) {
		for _, tree := range r.Trees(files) {
			must(t, tree.Write("/"))
		}
		through, errnos := tryOnNode(t, r)
		if len(through) != 2*len(r.Attacks) {
			t.Fatalf("%s: the control: only %v succeeded: %v", r.Name, through, errnos)
		}
	}
	own := slices.IndexFunc(nodeRows, func(r Row) bool { return r.Name == "node-files" })
	secret := nodeRows[own].Dir("read") + "/secret"
	held, err := os.Open(secret) // by a process that is older than the policy
	must(t, err)
	defer held.Close()

	manifests, err := Manifests([]Row{life}, []string{control, life.Pod, "life-later"})
	must(t, err)
	a := newAgent(t, t.TempDir())
	a.enforce(manifests)
	for _, r := range nodeRows {
		if through, _ := tryOnNode(t, r); len(through) != 2*len(r.Attacks) {
			t.Errorf("%s: without a policy about nodes only %v succeeded", r.Name, through)
		}
	}
	with := manifests
	for _, r := range append(slices.Clip(nodeRows), descends) {
		with += nodeManifest(t, r)
	}
	a.enforce(with)
	for _, r := range nodeRows {
		fmt.Printf("%s control=succeeded policy=%s\n", r.Name, answered(t, r))
	}
	if _, err := held.Read(make([]byte, 4)); err == nil {
		t.Error("what was opened before the policy is read")
	}

	t.Run("others", func(t *testing.T) { s.others(t) })
	t.Run("from", func(t *testing.T) { fromOnNode(t) })
	t.Run("records", func(t *testing.T) { nodeRecords(t, a) })
	t.Run("agent", func(t *testing.T) { lockedOut(t, a, with, manifests) })
}

// others are not the node's: what a container does is judged by the rules of its pod, and
// what the node does is not.
func (s *stage) others(t *testing.T) {
	for _, r := range nodeRows {
		for _, name := range r.Attacks {
			if o := s.attackOnce(control, name, r.Dir(name)); !o.Succeeded {
				t.Errorf("%s in a container: %+v", name, o)
			}
		}
	}
	denied := nodeRows[0].Dir("exec") + "/denied"
	for range 3 {
		if out := s.first(control+"-later", denied); out != "ran\n" {
			t.Errorf("a container that starts: %s", out)
		}
	}
	s.stopped("its own rules", "life", life)
	if through, errnos := tryOnNode(t, life); len(through) != 2*len(life.Attacks) {
		t.Errorf("what a pod's policy is about, by the node: only %v succeeded: %v", through, errnos)
	}
}

// fromOnNode: a rule's from is about who descends from an executable, and nobody else.
func fromOnNode(t *testing.T) {
	at := slices.IndexFunc(nodeRows, func(r Row) bool { return r.Name == "node-from" })
	secret := nodeRows[at].Dir("read") + "/secret"
	if out, err := exec.Command(Busybox, "cat", secret).CombinedOutput(); err != nil {
		t.Errorf("another executable: %s %v", out, err)
	}
	must(t, os.MkdirAll(filepath.Dir(shell), 0o755))
	must(t, container.Copy(Busybox, shell))
	must(t, os.WriteFile("/rows/descends", []byte("read"), 0o600))
	read := Busybox + " cat /rows/descends"
	if out, err := exec.Command(Busybox, "sh", "-c", read).CombinedOutput(); string(out) != "read" {
		t.Errorf("another shell: %s %v", out, err)
	}
	// The shell that was asked ends, and its child's parent is another.
	for what, script := range map[string]string{"child": read + "; true", "grandchild": "(" + read + " &); " + Busybox + " sleep 1"} {
		if out, err := exec.Command(shell, "sh", "-c", script).CombinedOutput(); strings.HasPrefix(string(out), "read") || !strings.Contains(string(out), "not permitted") {
			t.Errorf("%s of the shell: %s %v", what, out, err)
		}
	}
}

// nodeRecords: what was denied is told, of the node and no pod.
func nodeRecords(t *testing.T, a *agent) {
	poll.Pace{Every: 200 * time.Millisecond, For: time.Minute}.Until(t, "a record of the node", func() error {
		data, err := os.ReadFile(a.records())
		if err != nil {
			return err
		}
		for _, line := range bytes.Split(data, []byte("\n")) {
			var e events.Event
			if json.Unmarshal(line, &e) != nil || !strings.HasSuffix(e.Policy, "/node-files") || e.Verdict != flows.Deny {
				continue
			}
			if e.Pod != nil || e.Container != nil || e.Node != Node || e.File == nil || !strings.HasSuffix(e.File.Path, "/secret") {
				t.Fatalf("record %s", line)
			}
			return nil
		}
		return fmt.Errorf("none among %d bytes", len(data))
	})
}

// lockedOut: the agent goes on, and starts again, under a policy about nodes that denies
// what it does. A copy of its program is not the agent.
func lockedOut(t *testing.T, a *agent, with, without string) {
	copied := "/rows/copy-of-agent"
	must(t, container.Copy(inside.Agent, copied))
	if out, err := exec.Command(copied, "--help").CombinedOutput(); err != nil {
		t.Fatalf("control: %s %v", out, err)
	}
	deny := Row{Name: "node-agent", Spec: fmt.Sprintf(`
executables: {rules: [{name: agent, action: Kill, paths: [%s, %s]}]}
files: {rules: [{name: keys, action: Deny, operations: [Read], paths: [%s]}, {name: pins, action: Deny, directories: [/sys/fs/bpf]}]}
privileges: {rules: [{name: bpf, action: Deny, operations: [LoadBPF]}, {name: all, action: Deny, operations: [Capability], capabilities: [BPF, PERFMON]}]}
network: {rules: [{name: serve, action: Deny, operations: [Bind, Listen], protocols: [{tcp: {destinationPort: {number: 9444}}}]}]}
`, inside.Agent, copied, filepath.Join(a.trust(), "signing-keys"))}
	a.enforce(with + nodeManifest(t, deny))
	if o := onNode(t, 0, "bpf-map", "/"); o.errno != "EPERM" {
		t.Errorf("the policy does not hold: %+v", o)
	}
	if _, err := os.ReadFile(filepath.Join(a.trust(), "signing-keys")); err == nil {
		t.Error("the policy does not hold for files")
	}
	if out, err := exec.Command(copied, "--help").CombinedOutput(); err == nil {
		t.Errorf("a copy of the agent runs: %s", out)
	}
	a.enforce(without) // it starts under what it brought before
	if o := onNode(t, 0, "bpf-map", "/"); !o.succeeded {
		t.Errorf("the policy is gone, and holds: %+v", o)
	}
	fmt.Println("node-agent control=succeeded policy=exempt")
}
