package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
	processes "palisade.dev/palisade/nodeagent/events"
	records "palisade.dev/palisade/nodeagent/flows"
)

// noTool kills whoever executes /tool in the pods of an app.
const noTool = `
apiVersion: policy.palisade.dev/v1alpha1
kind: RuntimePolicy
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  subject: {pods: {matchLabels: {app: %[3]s}}}
  minimumBackend: %[4]s
  severity: High
  message: no tools here
  executables:
    rules: [{name: tool, action: Kill, paths: [/tool]}]
`

// executes runs a program in a container and reports whether it came to its own end.
func executes(p pod, container, program string) (bool, error) {
	out, err := kubectl("", "exec", "-n", p.namespace, p.name, "-c", container, "--", program, "dial", "--timeout=1s", p.tcp4(8080))
	if err == nil {
		return strings.Contains(out, `"ok"`), nil
	}
	// 137: killed. 126: not executed.
	if text := err.Error(); strings.Contains(text, "exit code 137") || strings.Contains(text, "exit code 126") || strings.Contains(text, "not permitted") {
		return false, nil
	}
	return false, err
}

func executing(t *testing.T, p pod, want map[string]bool) {
	t.Helper()
	pace.Until(t, "programs of "+p.String(), func() error {
		for program, ok := range want {
			switch done, err := executes(p, "server", program); {
			case err != nil:
				return err
			case done != ok:
				return fmt.Errorf("%s runs: %t, want %t", program, done, ok)
			}
		}
		return nil
	})
}

// TestRuntimePolicy: from kubectl to the end of a process in a pod. What the policy
// does not name runs on, other pods too; the record names who, what and by which rule;
// the status says how the nodes do it.
func TestRuntimePolicy(t *testing.T) {
	ns := namespace(t)
	p := launch(t, ns, "guarded@n1/guarded", "elsewhere@n2/guarded", "other@n1")
	guarded, elsewhere, other := p[0], p[1], p[2]
	both := map[string]bool{"/probe": true, "/tool": true}
	for _, x := range p {
		executing(t, x, both)
	}
	ready(t, fmt.Sprintf(noTool, ns, "no-tool", "guarded", "Any"), ns+":rtp/no-tool")
	one := map[string]bool{"/probe": true, "/tool": false}
	executing(t, guarded, one)
	executing(t, elsewhere, one)
	executing(t, other, both)

	c := expectCondition(t, ns, "rtp/no-tool", v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonRealized)
	if !strings.Contains(c.Message, "prevented on 2 nodes") && !strings.Contains(c.Message, "killed after the fact on 2 nodes") {
		t.Errorf("Programmed says %q", c.Message)
	}
	pace.Until(t, "a record of the kill", func() error {
		return recorded(guarded, "server", "a kill by the policy", kill("rtp/"+ns+"/no-tool"))
	})

	// Without the policy nothing is left of it.
	must(t, "", "delete", "rtp", "-n", ns, "no-tool")
	executing(t, guarded, both)
}

// kill is what the record of a kill by a policy like noTool has.
func kill(policy string) func(processes.Event) bool {
	return func(e processes.Event) bool {
		return e.Verdict != records.Allow && e.Policy == policy && e.Rule == "executables/tool"
	}
}

// recorded looks among the records of the agents for one of /tool in a container.
func recorded(p pod, container, what string, has func(processes.Event) bool) error {
	agents, err := running(agentPart)
	if err != nil {
		return err
	}
	for agent := range agents {
		out, err := kubectl("", "exec", "-n", system, agent, "-c", "nodeagent", "--", "/palisade", "events", "-o", "json", "--namespace", p.namespace)
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			var e processes.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return fmt.Errorf("record %q: %w", line, err)
			}
			if e.Exec != nil && e.Exec.Path == "/tool" && e.Pod != nil && e.Pod.Name == p.name && e.Pod.UID == p.uid &&
				e.Container != nil && e.Container.Name == container && has(e) {
				return nil
			}
		}
	}
	return fmt.Errorf("no agent tells of /tool in %s, container %s: %s", p, container, what)
}

// TestStartOfAContainer: the first instruction of a container whose entrypoint a policy
// forbids is never executed, from the first start on.
func TestStartOfAContainer(t *testing.T) {
	ns := namespace(t)
	ready(t, fmt.Sprintf(noTool, ns, "no-tool", "starts", "Any"), ns+":rtp/no-tool")
	const starts = 5
	var manifest strings.Builder
	for i := range starts {
		fmt.Fprintf(&manifest, `---
apiVersion: v1
kind: Pod
metadata: {name: start-%[2]d, namespace: %[1]s, labels: {app: starts}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  nodeName: %[3]s
  containers:
  - name: server
    image: %[4]s
    imagePullPolicy: IfNotPresent
    command: [/tool, hello]
`, ns, i, place([]string{"n1", "n2"}[i%2]), target.probe)
	}
	must(t, manifest.String(), "apply", "-f", "-")
	for i := range starts {
		end := ended(t, ns, fmt.Sprintf("start-%d", i))
		t.Log(end)
		if end.ran() || end.code != "137" && end.reason != "StartError" {
			t.Errorf("the program ran: %s", end)
		}
	}
	// The control: the same pod, of nobody's concern.
	must(t, strings.ReplaceAll(strings.SplitN(manifest.String(), "---", 3)[1], "app: starts", "app: free"), "replace", "--force", "-f", "-")
	if end := ended(t, ns, "start-0"); !end.ran() || end.code != "2" {
		t.Errorf("without the policy: %s", end)
	}
}

// end is how a pod's only container ended, and what it printed.
type end struct{ name, code, reason, log string }

func (e end) String() string {
	return fmt.Sprintf("%s ended with %s, %s, and printed %q", e.name, e.code, e.reason, e.log)
}

// ran: the first thing that the program does with a command that it does not know is to
// print how it is used.
func (e end) ran() bool { return strings.Contains(e.log, "usage") }

// ended waits for a pod to fail.
func ended(t *testing.T, ns, name string) end {
	t.Helper()
	out := end{name: name}
	pace.Until(t, name+" ends", func() error {
		text, err := kubectl("", "get", "pod", "-n", ns, name, "-o",
			"jsonpath={.status.phase} {.status.containerStatuses[0].state.terminated.exitCode} {.status.containerStatuses[0].state.terminated.reason}")
		if err != nil {
			return err
		}
		fields := strings.Fields(text)
		if len(fields) != 3 || fields[0] != "Failed" {
			return fmt.Errorf("%s: %s", name, text)
		}
		out.code, out.reason = fields[1], fields[2]
		if out.reason == "StartError" {
			return nil // there was no process to print anything
		}
		out.log, err = kubectl("", "logs", "-n", ns, name)
		return err
	})
	return out
}

// TestMinimumBackend: a node whose kernel can only kill after the fact does that, and
// says that it cannot do what is demanded.
func TestMinimumBackend(t *testing.T) {
	onlyLocal(t) // what the nodes' kernel can do is known there
	ns := namespace(t)
	p := launch(t, ns, "guarded@n1/guarded")[0]
	must(t, fmt.Sprintf(noTool, ns, "prevent", "guarded", "Prevent"), "apply", "-f", "-")
	executing(t, p, map[string]bool{"/probe": true, "/tool": false})
	c := expectCondition(t, ns, "rtp/prevent", v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonBackendCannotPrevent)
	if !strings.Contains(c.Message, "n1: executables can only be answered by signal") {
		t.Errorf("Programmed says %q", c.Message)
	}
}

// TestSocketsByExecutable: who connects counts, not only from where and to where.
func TestSocketsByExecutable(t *testing.T) {
	ns := namespace(t)
	p := launch(t, ns, "client@n1", "web@n2")
	client, web := p[0], p[1]
	ready(t, fmt.Sprintf(`
apiVersion: policy.palisade.dev/v1alpha1
kind: RuntimePolicy
metadata: {name: sockets, namespace: %s}
spec:
  subject: {pods: {matchLabels: {app: client}}}
  minimumBackend: Prevent
  network:
    rules:
    - {name: tool, action: Deny, operations: [Connect], from: [/tool], protocols: [{tcp: {destinationPort: {number: 8080}}}]}
`, ns), ns+":rtp/sockets")
	reaches := func(program string, want map[string]bool) {
		t.Helper()
		pace.Until(t, program+" connects", func() error {
			args := []string{"exec", "-n", ns, client.name, "--", program, "dial", "--timeout=1s"}
			for target := range want {
				args = append(args, target)
			}
			out, err := kubectl("", args...)
			if err != nil {
				return err
			}
			got, err := answers(out, len(want))
			if err != nil {
				return err
			}
			return compare(got, want)
		})
	}
	reaches("/tool", map[string]bool{web.tcp4(8080): false, web.tcp6(8080): false, web.tcp4(9090): true})
	reaches("/probe", map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true, web.tcp4(9090): true})
}
