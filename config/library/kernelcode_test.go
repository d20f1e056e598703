package library_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/model"
)

// TestKernelCodeIsNotForNamespaces: whoever writes the policies of a namespace cannot let
// its pods bring code into the kernel; only where the cluster's owner has set the label may
// they load eBPF.
func TestKernelCodeIsNotForNamespaces(t *testing.T) {
	const world = `apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {kubernetes.io/metadata.name: shop%s}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, uid: 00000000-0000-4000-8000-000000000001, labels: {app: db}}
spec: {nodeName: n1, containers: [{name: app}]}
status: {podIPs: [{ip: 10.1.0.1}]}
---
%s
`
	const accepts = `---
apiVersion: policy.palisade.dev/v1alpha1
kind: RuntimePolicy
metadata: {namespace: shop, name: mine}
spec:
  subject: {pods: {}}
  privileges:
    rules: [{name: mine, action: Accept, operations: [LoadModule, LoadBPF]}]
    exceptions: [{name: until, reason: trouble, expiresAt: "2027-01-31T00:00:00Z", operations: [LoadModule, LoadBPF]}]
`
	const labelled = `, library.palisade.dev/loads-ebpf: "true"`
	for name, tc := range map[string]struct {
		label, mine, by string
		operation       model.PrivilegeOperation
		want            model.Verdict
		policy          string
	}{
		"module":                         {"", "", "/bin/x", model.PrivilegeLoadModule, model.Deny, "no-new-kernel-code"},
		"module, the namespace accepts":  {"", accepts, "/bin/x", model.PrivilegeLoadModule, model.Deny, "no-new-kernel-code"},
		"eBPF":                           {"", "", "/bin/x", model.PrivilegeLoadBPF, model.Deny, "no-new-kernel-code-ebpf"},
		"eBPF, the namespace accepts":    {"", accepts, "/bin/x", model.PrivilegeLoadBPF, model.Deny, "no-new-kernel-code-ebpf"},
		"eBPF by the list, no label":     {"", "", "/usr/bin/tetragon", model.PrivilegeLoadBPF, model.Deny, "no-new-kernel-code-ebpf"},
		"labelled: module":               {labelled, accepts, "/usr/bin/tetragon", model.PrivilegeLoadModule, model.Deny, "no-new-kernel-code"},
		"labelled: eBPF":                 {labelled, "", "/bin/x", model.PrivilegeLoadBPF, model.Deny, "kernel-code-of-others"},
		"labelled: eBPF by the list":     {labelled, "", "/usr/bin/tetragon", model.PrivilegeLoadBPF, model.Allow, "kernel-code-of-ours"},
		"labelled: the namespace's eBPF": {labelled, accepts, "/bin/x", model.PrivilegeLoadBPF, model.Allow, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "all.yaml")
			if err := os.WriteFile(file, fmt.Appendf(nil, world, tc.label, policies(t)["no-new-kernel-code"]+tc.mine), 0o600); err != nil {
				t.Fatal(err)
			}
			objects, err := manifests.Read(t.Context(), []string{file}, manifests.Options{})
			if err != nil {
				t.Fatal(err)
			}
			w, err := objects.World(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			ask, err := judge.RuntimeReference(w.Cluster)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range w.Cluster.Endpoints {
				if e.ID.Kind != model.EndpointPod {
					continue
				}
				got, err := ask(e, "app", []model.Operation{{Section: model.SectionPrivileges, Bits: uint32(tc.operation), Executable: tc.by}})
				if err != nil {
					t.Fatal(err)
				}
				if d := got[0].Enforced; d.Verdict != tc.want || d.By.Policy.Name != tc.policy {
					t.Errorf("%v by %s, want %v by %s", d.Verdict, d.By.Policy.Name, tc.want, tc.policy)
				}
				return
			}
			t.Fatal("no pod")
		})
	}
}
