package e2e

import (
	"fmt"
	"testing"

	processes "palisade.dev/palisade/nodeagent/events"
	records "palisade.dev/palisade/nodeagent/flows"
)

// parts is a pod with an init container, which runs on so that programs can be executed
// in it, and two containers after it.
const parts = `
apiVersion: v1
kind: Pod
metadata: {name: parts, namespace: %[1]s, labels: {app: parts}}
spec:
  terminationGracePeriodSeconds: 0
  nodeName: %[2]s
  initContainers:
  - {name: init, image: %[3]s, imagePullPolicy: IfNotPresent, restartPolicy: Always, args: [serve, --tcp, "7070"]}
  containers:
  - name: server
    image: %[3]s
    imagePullPolicy: IfNotPresent
    args: [serve, --tcp, "8080"]
    resources: {requests: {cpu: 10m}}
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
  - {name: named, image: %[3]s, imagePullPolicy: IfNotPresent, args: [serve, --tcp, "9090"]}
`

// noToolIn kills whoever executes /tool in the containers that it names, or says
// that it would.
const noToolIn = `
apiVersion: policy.palisade.dev/v1alpha1
kind: RuntimePolicy
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  mode: %[3]s
  subject: {pods: {matchLabels: {app: parts}}, containers: [%[4]s]}
  executables:
    rules: [{name: tool, action: Kill, paths: [/tool]}]
`

// noToolAnywhere does so in all pods of the namespaces with a label.
const noToolAnywhere = `
apiVersion: policy.palisade.dev/v1alpha1
kind: ClusterwidePolicy
metadata: {name: %[1]s}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {matchLabels: {e2e-guarded: %[2]s}}}
  runtime:
    executables:
      rules: [{name: tool, action: Kill, paths: [/tool]}]
`

// TestRuntimePolicyOfContainers: a policy is about the containers that it names, also
// about those that are yet to come; one that only observes says what it would do; and
// a clusterwide one is about the pods of a namespace as its labels come and go.
func TestRuntimePolicyOfContainers(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	must(t, fmt.Sprintf(parts, ns, place("n1"), target.probe), "apply", "-f", "-")
	must(t, "", "wait", "-n", ns, "--for=condition=Ready", "pod/parts", patient)
	p := lookUp(t, ns, "parts")
	toolRuns(t, p, map[string]bool{"init": true, "server": true, "named": true})

	ready(t, fmt.Sprintf(noToolIn, ns, "some", "Enforce", "named, debugger"), ns+":rtp/some")
	toolRuns(t, p, map[string]bool{"init": true, "server": true, "named": false})
	told(t, p, "named", "a kill by the policy about it", kill("rtp/"+ns+"/some"))

	for _, name := range []string{"debugger", "visitor"} {
		must(t, "", "debug", "-n", ns, p.name, "--container="+name, "--image="+target.probe, "--image-pull-policy=IfNotPresent",
			"--profile=baseline", "--quiet", "--", "/probe", "serve", "--tcp=0") // any port
	}
	toolRuns(t, p, map[string]bool{"debugger": false, "visitor": true, "named": false})
	told(t, p, "debugger", "a kill by the policy about it", kill("rtp/"+ns+"/some"))

	ready(t, fmt.Sprintf(noToolIn, ns, "observed", "Audit", "server"), ns+":rtp/observed")
	pace.Until(t, "a record of what would have been killed", func() error {
		switch runs, err := executes(p, "server", "/tool"); {
		case err != nil:
			return err
		case !runs:
			t.Fatal("a policy in mode Audit stops a program")
		}
		return recorded(p, "server", "what the policy would do", func(e processes.Event) bool {
			return e.Verdict == records.Allow && e.Staged != nil && e.Staged.Verdict == processes.Kill &&
				e.Staged.Policy == "rtp/"+ns+"/observed" && e.Staged.Rule == "executables/tool"
		})
	})

	wide := "e2e-anywhere-" + ns
	cleanUp(t, "cwp/"+wide)
	ready(t, fmt.Sprintf(noToolAnywhere, wide, ns), ":cwp/"+wide)
	toolRuns(t, p, map[string]bool{"init": true, "server": true, "visitor": true, "named": false})
	must(t, "", "label", "namespace", ns, "e2e-guarded="+ns)
	toolRuns(t, p, map[string]bool{"init": false, "server": false, "visitor": false, "named": false})
	told(t, p, "init", "a kill by the clusterwide policy", kill("cwp/"+wide))
	must(t, "", "label", "namespace", ns, "e2e-guarded-")
	toolRuns(t, p, map[string]bool{"init": true, "server": true, "visitor": true, "named": false})
}

// toolRuns waits until /tool runs, or not, in containers of a pod as wanted.
func toolRuns(t *testing.T, p pod, want map[string]bool) {
	t.Helper()
	pace.Until(t, "/tool in "+p.String(), func() error {
		for container, ok := range want {
			switch runs, err := executes(p, container, "/tool"); {
			case err != nil:
				return err
			case runs != ok:
				return fmt.Errorf("in container %s it runs: %t, want %t", container, runs, ok)
			}
		}
		return nil
	})
}

func told(t *testing.T, p pod, container, what string, has func(processes.Event) bool) {
	t.Helper()
	pace.Until(t, what, func() error { return recorded(p, container, what, has) })
}
