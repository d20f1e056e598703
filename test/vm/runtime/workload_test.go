//go:build guest

package runtime

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/datapath"
)

const machine = `
apiVersion: policy.palisade.dev/v1alpha1
kind: ExternalWorkload
metadata: {namespace: legacy, name: ` + Node + `}
spec: {addresses: [198.51.100.1/32]}
`

// TestWorkload: on the host that is an external workload, what policies say of external
// workloads holds for its own processes without any agent, and what they say of nodes
// does not.
func TestWorkload(t *testing.T) {
	aboutNodes, aboutWorkloads := machine, machine
	all := map[string]any{"externalWorkloads": map[string]any{"namespaceSelector": map[string]any{}, "selector": map[string]any{}}}
	for _, r := range nodeRows {
		for _, tree := range r.Trees(files) {
			must(t, tree.Write("/"))
		}
		aboutNodes += nodeManifest(t, r)
		aboutWorkloads += r.about(t, all)
	}
	state := t.TempDir()
	t.Cleanup(func() { must(t, datapath.Remove(datapath.DefaultPinDir)) })
	unhindered := func(when string) {
		for _, r := range nodeRows {
			if through, errnos := tryOnNode(t, r); len(through) != 2*len(r.Attacks) {
				t.Fatalf("%s: %s: only %v succeeded: %v", r.Name, when, through, errnos)
			}
		}
	}
	unhindered("the control")
	applyAsWorkload(t, state, aboutNodes)
	unhindered("with policies about nodes")
	applyAsWorkload(t, state, aboutWorkloads)
	for _, r := range nodeRows {
		through, errnos := tryOnNode(t, r)
		how := "stopped errno=" + strings.Join(errnos, ",")
		if len(through) > 0 {
			how = "not-stopped(" + strings.Join(through, ",") + ")"
			t.Errorf("%s: %s", r.Name, how)
		}
		fmt.Printf("%s control=succeeded policy=%s\n", strings.Replace(r.Name, "node", "workload", 1), how)
	}
	applyAsWorkload(t, state, machine)
	unhindered("without policies again")
}

// applyAsWorkload brings manifests into force. No process stays.
func applyAsWorkload(t *testing.T, state, manifests string) {
	t.Helper()
	cmd := exec.Command(CLI, "apply", "-f", "-", "--workload=legacy/"+Node, "--state-dir="+state, "--allow-bypass")
	cmd.Stdin = strings.NewReader(manifests)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "external workload legacy/"+Node+" is now generation") {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	if said := strings.Contains(string(out), "packets are not judged"); said != (datapath.Probe() != nil) {
		t.Errorf("%s: says that packets are not judged: %t\n%s", cmd, said, out)
	}
}
