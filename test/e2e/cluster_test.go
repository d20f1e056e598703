package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/test/poll"
)

// patience bounds every wait, also on a machine that is busy with other things; nothing
// in the tests measures time.
const patience = 3 * time.Minute

// pace is patience for polling: each look is a process. Conditions return the errors of
// kubectl too: an API server under load may fail once.
var pace = poll.Pace{Every: 300 * time.Millisecond, For: patience}

// patient is patience for kubectl.
var patient = "--timeout=" + patience.String()

var repo = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

func TestMain(m *testing.M) { os.Exit(run(m)) }

// target is the cluster, found once.
var target struct {
	kind, kubectl, kubeconfig string
	probe                     string // the image of the pods
	nodes                     map[string]string
	agents                    int // how many nodes there are, with those that take no pod
}

// place is what the cluster calls the node that the tests call n1 or n2.
func place(node string) string { return target.nodes[node] }

func run(m *testing.M) int {
	// A developer who has just installed need not wait for that again.
	if os.Getenv("PALISADE_INSTALLED") == "" {
		if err := install("up"); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: hack/install.sh up:", err)
			return 1
		}
		if os.Getenv("KEEP") == "" {
			defer func() { _ = install("down") }()
		}
	}
	if err := findTarget(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	// The tests wait more than they work; -test.parallel still decides.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return runAll(m)
}

func install(what string) error {
	cmd := exec.Command(filepath.Join(repo, "hack/install.sh"), what)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

// findTarget asks the scripts which cluster they mean.
func findTarget() error {
	cmd := exec.Command("bash", "-c", `. hack/cluster/target.sh
if [[ $TARGET == local ]]; then KUBECONFIG=$(hack/cluster/cluster kubeconfig); else target_up >&2; fi
program=$(type -P kubectl) || program=$(hack/cluster/cluster bin)/kubectl
export KUBECONFIG
printf '%s\n' "$TARGET" "$program" "$KUBECONFIG" "$(image_name probe)"
target_nodes
"$program" get nodes --selector kubernetes.io/os=linux -o name | wc -l`)
	cmd.Dir, cmd.Stderr = repo, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("which cluster: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 7 {
		return fmt.Errorf("which cluster: target.sh said %q", out)
	}
	target.kind, target.kubectl, target.kubeconfig, target.probe = lines[0], lines[1], lines[2], lines[3]
	if lines[4] == lines[5] {
		return fmt.Errorf("the tests need two nodes that take pods: there is only %s", lines[4])
	}
	target.nodes = map[string]string{"n1": lines[4], "n2": lines[5]}
	if target.agents, err = strconv.Atoi(lines[6]); err != nil {
		return fmt.Errorf("how many nodes: %w", err)
	}
	return nil
}

func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, target.kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+target.kubeconfig)
	return cmd
}

// kubectl runs kubectl as administrator and returns what it printed.
func kubectl(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := command(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// inside runs a command in a node of the local cluster, or in the host beside it
// (out). Other clusters give no such way in.
func inside(t *testing.T, where string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(repo, "hack/cluster/cluster"), append([]string{"exec", where}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("in %s: %s: %v: %s", where, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// onlyLocal skips what needs a way into a node.
func onlyLocal(t *testing.T) {
	t.Helper()
	if target.kind != "local" {
		t.Skip("needs the local cluster: it works inside a node")
	}
}

func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := kubectl(stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// now asks once, and fails the test if there is no answer.
func now[T any](t *testing.T, ask func() (T, error)) T {
	t.Helper()
	answer, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// namespace makes a namespace that goes when the test ends. Labels are KEY=VALUE.
func namespace(t *testing.T, labels ...string) string {
	t.Helper()
	name := fmt.Sprintf("e2e-%06x", rand.IntN(1<<24))
	must(t, "", "create", "namespace", name)
	t.Cleanup(func() {
		if _, err := kubectl("", "delete", "namespace", name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	if len(labels) > 0 {
		must(t, "", append([]string{"label", "namespace", name}, labels...)...)
	}
	return name
}

// pod is a pod of the tests: it serves TCP 8080 and 9090 and UDP 8080
// (with host networking 18080, 19090 and 18080), and dials. Its request for CPU
// is what lets it answer in time while an agent starts beside it: pods without
// one get what others leave.
type pod struct {
	namespace, name string
	ip4, ip6        string
	uid             string
}

func (p pod) String() string { return p.namespace + "/" + p.name }

func (p pod) tcp4(port int) string { return fmt.Sprintf("tcp/%s:%d", p.ip4, port) }
func (p pod) tcp6(port int) string { return fmt.Sprintf("tcp/[%s]:%d", p.ip6, port) }
func (p pod) udp4(port int) string { return fmt.Sprintf("udp/%s:%d", p.ip4, port) }

const podTemplate = `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, labels: {app: %[3]s}}
spec:
  terminationGracePeriodSeconds: 0
  nodeName: %[4]s
  hostNetwork: %[5]t
  containers:
  - name: server
    image: %[8]s
    imagePullPolicy: IfNotPresent
    args: [serve, --tcp, "%[6]d,%[7]d", --udp, "%[6]d"]
    ports: [{name: http, containerPort: %[6]d}]
    resources: {requests: {cpu: 10m}}
    readinessProbe: {tcpSocket: {port: %[6]d}, periodSeconds: 1}
`

// podManifest is a pod of the tests; its second port follows from the first.
func podManifest(name, ns, app, node string, host bool, port int) string {
	second := 9090
	if host {
		second = port + 1010
	}
	return fmt.Sprintf(podTemplate, name, ns, app, place(node), host, port, second, target.probe)
}

// launch runs pods, each NAME@NODE or NAME@NODE/APP, and waits until they are Ready.
func launch(t *testing.T, ns string, specs ...string) []pod {
	t.Helper()
	var manifest strings.Builder
	args := []string{"wait", "-n", ns, "--for=condition=Ready", patient}
	names := make([]string, len(specs))
	for i, spec := range specs {
		name, node, _ := strings.Cut(spec, "@")
		node, app, ok := strings.Cut(node, "/")
		if !ok {
			app = name
		}
		manifest.WriteString("---" + podManifest(name, ns, app, node, false, 8080))
		names[i], args = name, append(args, "pod/"+name)
	}
	must(t, manifest.String(), "apply", "-f", "-")
	must(t, "", args...)
	pods := make([]pod, len(specs))
	for i, name := range names {
		pods[i] = lookUp(t, ns, name)
	}
	return pods
}

// launchOnHost runs a pod with host networking.
func launchOnHost(t *testing.T, ns, name, node string, port int) pod {
	t.Helper()
	must(t, podManifest(name, ns, name, node, true, port), "apply", "-f", "-")
	must(t, "", "wait", "-n", ns, "--for=condition=Ready", "pod/"+name, patient)
	return lookUp(t, ns, name)
}

func lookUp(t *testing.T, ns, name string) pod {
	t.Helper()
	var object struct {
		Metadata struct{ UID string }
		Status   struct{ PodIPs []struct{ IP string } }
	}
	if err := json.Unmarshal([]byte(must(t, "", "get", "pod", "-n", ns, name, "-o", "json")), &object); err != nil {
		t.Fatal(err)
	}
	p := pod{namespace: ns, name: name, uid: object.Metadata.UID}
	for _, ip := range object.Status.PodIPs {
		if strings.Contains(ip.IP, ":") {
			p.ip6 = ip.IP
		} else {
			p.ip4 = ip.IP
		}
	}
	if p.ip4 == "" || p.ip6 == "" {
		t.Fatalf("pod %s has addresses %+v, not one of each family", p, object.Status.PodIPs)
	}
	return p
}

// dial tries targets from inside a pod and says which answered.
func dial(from pod, targets ...string) (map[string]bool, error) {
	out, err := kubectl("", append([]string{"exec", "-n", from.namespace, from.name, "--", "/probe", "dial", "--timeout=1s"}, targets...)...)
	if err != nil {
		return nil, err
	}
	return answers(out, len(targets))
}

// answers reads what dial printed about so many targets.
func answers(out string, targets int) (map[string]bool, error) {
	found := map[string]bool{}
	for line := range strings.Lines(out) {
		var r struct {
			Target string
			OK     bool
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("probe printed %q: %w", line, err)
		}
		found[r.Target] = r.OK
	}
	if len(found) != targets {
		return nil, fmt.Errorf("probe answered for %d of %d targets", len(found), targets)
	}
	return found, nil
}

func compare(got, want map[string]bool) error {
	for target, ok := range want {
		if got[target] != ok {
			return fmt.Errorf("%s answers: %t, want %t", target, got[target], ok)
		}
	}
	return nil
}

// tries dials once and says which target did not answer, or did, other than wanted.
func tries(from pod, want map[string]bool) error {
	targets := make([]string, 0, len(want))
	for target := range want {
		targets = append(targets, target)
	}
	got, err := dial(from, targets...)
	if err != nil {
		return err
	}
	return compare(got, want)
}

// expect waits until every target answers, or not, as wanted.
func expect(t *testing.T, from pod, want map[string]bool) {
	t.Helper()
	pace.Until(t, "connections from "+from.String(), func() error { return tries(from, want) })
}

// ready applies a manifest and waits until what is named is in force.
func ready(t *testing.T, manifest string, resources ...string) {
	t.Helper()
	must(t, manifest, "apply", "-f", "-")
	for _, r := range resources {
		ns, name, _ := strings.Cut(r, ":")
		args := []string{"wait", "--for=condition=Ready", name, patient}
		if ns != "" {
			args = append(args, "-n", ns)
		}
		must(t, "", args...)
	}
}

// cleanUp deletes a cluster-wide object when the test ends.
func cleanUp(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := kubectl("", "delete", name, "--ignore-not-found", "--wait=false"); err != nil {
			t.Error(err)
		}
	})
}
