//go:build guest

package inside

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/datapath"
)

// manifests are what rows() says, as a user writes it.
const manifests = `
apiVersion: v1
kind: Node
metadata: {name: guest}
spec: {podCIDRs: [10.1.0.0/24, "fd00:1::/64"]}
status: {addresses: [{type: InternalIP, address: 10.1.0.254}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: client, labels: {app: client}, annotations: {palisade.dev/interface: veth-client}}
spec: {nodeName: guest}
status: {podIPs: [{ip: 10.1.0.1}, {ip: "fd00:1::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: server, labels: {app: server}, annotations: {palisade.dev/interface: veth-server}}
spec: {nodeName: guest}
status: {podIPs: [{ip: 10.1.0.2}, {ip: "fd00:1::2"}]}
---
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {namespace: shop, name: server}
spec:
  subject: {pods: {matchLabels: {app: server}}}
  isolate: Ingress
  ingress:
  - name: clients
    action: Accept
    from: [{pods: {podSelector: {matchLabels: {app: client}}}}]
    protocols:
    - {tcp: {destinationPort: {number: 5000}}}
    - {sctp: {destinationPort: {number: 5000}}}
`

func writeManifests(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "shop.yaml"), []byte(manifests), 0o644))
	return dir
}

// command runs a program and returns what it printed and its exit code.
func command(t *testing.T, program string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestApply: manifests become verdicts on real packets by one command.
func TestApply(t *testing.T) {
	client, server := node(t)
	serveAll(t, server)
	state := t.TempDir()
	stdout, stderr, code := command(t, Palisade, "apply", "-f", writeManifests(t), "--node", "guest", "--state-dir", state)
	t.Cleanup(func() { must(t, datapath.Remove(datapath.DefaultPinDir)) })
	if code != 0 {
		t.Fatalf("palisade apply: exit %d\n%s%s", code, stdout, stderr)
	}
	expect(t, "applied", client, server, false)
	if stdout, stderr, code = command(t, Palisade, "uninstall", "--yes", "--state-dir", state); code != 0 {
		t.Fatalf("palisade uninstall: exit %d\n%s%s", code, stdout, stderr)
	}
	expect(t, "uninstalled", client, server, true)
}

// TestRefusal: on a kernel without netfilter BPF the programs that people start say
// so in one line, exit with an error, and have done nothing.
func TestRefusal(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	// nodeagent run goes on here: it judges what processes do (test/vm/runtime).
	for name, args := range map[string][]string{
		"palisade apply":  {Palisade, "apply", "-f", writeManifests(t), "--node", "guest", "--allow-missing", "--state-dir", state},
		"nodeagent check": {Agent, "check"},
	} {
		before := programs(t)
		stdout, stderr, code := command(t, args[0], args[1:]...)
		if code == 0 {
			t.Errorf("%s: exit 0", name)
		}
		var said []string
		for line := range strings.Lines(stdout + stderr) {
			if strings.Contains(line, "netfilter BPF") && strings.Contains(line, "6.1.") && strings.Contains(line, "Linux 6.4 or later") {
				said = append(said, strings.TrimSpace(line))
			}
		}
		if len(said) == 0 || strings.Contains(stdout+stderr, "goroutine ") {
			t.Errorf("%s does not say in one line what lacks and how to mend it:\n%s%s", name, stdout, stderr)
		} else {
			t.Logf("%s: exit %d: %s", name, code, said[0])
		}
		if after := programs(t); after > before {
			t.Errorf("%s: %d programs in the kernel, %d before", name, after, before)
		}
	}
	must(t, filepath.WalkDir("/sys/fs/bpf", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "palisade") {
			t.Errorf("%s is left behind", path)
		}
		return err
	}))
	if entries, err := os.ReadDir(state); err == nil && len(entries) > 0 {
		t.Errorf("%s holds %v", state, entries)
	}
}
