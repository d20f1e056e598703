package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait; nothing in the tests measures time.
const patience = 90 * time.Second

var repo = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	install := exec.Command(filepath.Join(repo, "hack/install.sh"), "up")
	install.Stdout, install.Stderr = os.Stderr, os.Stderr
	if err := install.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: hack/install.sh up:", err)
		return 1
	}
	if os.Getenv("KEEP") == "" {
		defer func() {
			down := exec.Command(filepath.Join(repo, "hack/install.sh"), "down")
			down.Stdout, down.Stderr = os.Stderr, os.Stderr
			_ = down.Run()
		}()
	}
	return m.Run()
}

// kubectl runs kubectl as administrator and returns what it printed.
func kubectl(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(repo, "hack/install.sh"), append([]string{"kubectl"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := kubectl(stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually polls until the condition holds; what it last said is the failure.
func eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// namespace makes a namespace that goes when the test ends.
func namespace(t *testing.T, labels ...string) string {
	t.Helper()
	name := fmt.Sprintf("e2e-%06x", rand.IntN(1<<24))
	must(t, "", "create", "namespace", name)
	t.Cleanup(func() {
		if _, err := kubectl("", "delete", "namespace", name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	for _, l := range labels {
		must(t, "", "label", "namespace", name, l)
	}
	return name
}

// pod is a pod of the tests: it serves TCP 8080 and 9090 and UDP 8080
// (with host networking 18080, 19090 and 18080), and dials.
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
    image: palisade.dev/probe:dev
    imagePullPolicy: IfNotPresent
    args: [serve, --tcp, "%[6]d,%[7]d", --udp, "%[6]d"]
    ports: [{name: http, containerPort: %[6]d}]
    readinessProbe: {tcpSocket: {port: %[6]d}, periodSeconds: 1}
`

// start runs a pod on a node and waits until it is Ready.
func start(t *testing.T, ns, name, node string) pod {
	t.Helper()
	return startPod(t, ns, name, node, false, 8080)
}

func startPod(t *testing.T, ns, name, node string, host bool, port int) pod {
	t.Helper()
	must(t, fmt.Sprintf(podTemplate, name, ns, name, node, host, port, port+1010), "apply", "-f", "-")
	must(t, "", "wait", "-n", ns, "--for=condition=Ready", "pod/"+name, "--timeout=60s")
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
	answers := map[string]bool{}
	for line := range strings.Lines(out) {
		var r struct {
			Target string
			OK     bool
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("probe printed %q: %w", line, err)
		}
		answers[r.Target] = r.OK
	}
	if len(answers) != len(targets) {
		return nil, fmt.Errorf("probe answered for %d of %d targets", len(answers), len(targets))
	}
	return answers, nil
}

// expect waits until every target answers, or not, as wanted.
func expect(t *testing.T, from pod, want map[string]bool) {
	t.Helper()
	targets := make([]string, 0, len(want))
	for target := range want {
		targets = append(targets, target)
	}
	eventually(t, "connections from "+from.String(), func() error {
		got, err := dial(from, targets...)
		if err != nil {
			return err
		}
		for target, ok := range want {
			if got[target] != ok {
				return fmt.Errorf("%s answers: %t, want %t", target, got[target], ok)
			}
		}
		return nil
	})
}

// ready applies a manifest and waits until what is named is in force.
func ready(t *testing.T, manifest string, resources ...string) {
	t.Helper()
	must(t, manifest, "apply", "-f", "-")
	for _, r := range resources {
		ns, name, _ := strings.Cut(r, ":")
		args := []string{"wait", "--for=condition=Ready", name, "--timeout=60s"}
		if ns != "" {
			args = append(args, "-n", ns)
		}
		must(t, "", args...)
	}
}
