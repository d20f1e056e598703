package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/snapshot"
)

// TestWorkload: the host that is an external workload gets the rules about processes of
// external workloads, and none about nodes, not even of one that is called the same.
func TestWorkload(t *testing.T) {
	const machines = `
{apiVersion: v1, kind: Node, metadata: {name: vm}}
---
{apiVersion: policy.palisade.dev/v1alpha1, kind: ExternalWorkload, metadata: {namespace: legacy, name: vm}, spec: {addresses: [198.51.100.1/32]}}
---
{apiVersion: policy.palisade.dev/v1alpha1, kind: ExternalWorkload, metadata: {namespace: legacy, name: other, labels: {app: other}}, spec: {addresses: [198.51.100.2/32]}}
---
apiVersion: policy.palisade.dev/v1alpha1
kind: ClusterwidePolicy
metadata: {name: machines}
spec:
  tier: Admin
  priority: 1
  subject: {externalWorkloads: {namespaceSelector: {}, selector: {}}}
  ingress: [{name: nobody, action: Deny}]
  runtime: {privileges: {rules: [{name: modules, action: Deny, operations: [LoadModule]}]}}
---
apiVersion: policy.palisade.dev/v1alpha1
kind: ClusterwidePolicy
metadata: {name: others}
spec:
  tier: Admin
  priority: 1
  subject: {externalWorkloads: {namespaceSelector: {}, selector: {matchLabels: {app: other}}}}
  runtime: {privileges: {rules: [{name: modules, action: Deny, operations: [LoadModule]}]}}
---
apiVersion: policy.palisade.dev/v1alpha1
kind: ClusterwidePolicy
metadata: {name: nodes}
spec:
  tier: Admin
  priority: 1
  subject: {nodes: {}}
  runtime: {minimumBackend: Prevent, privileges: {rules: [{name: modules, action: Kill, operations: [LoadModule]}]}}
`
	objects, err := manifests.Read(t.Context(), []string{"-"}, manifests.Options{Stdin: strings.NewReader(machines)})
	if err != nil {
		t.Fatal(err)
	}
	o := applyOptions{workload: "legacy/vm", local: local{node: "vm"}}
	set, prevent, err := o.compile(objects, &env{stderr: t.Output(), now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if len(prevent) != 1 || !prevent["cwp/nodes"] {
		t.Errorf("to be prevented: %v", prevent)
	}
	if meta, err := set.Meta(); err != nil || meta.Node != "legacy/vm" || o.local.node != meta.Node {
		t.Errorf("rows of %q for %q, %v", meta.Node, o.local.node, err)
	}
	rows, err := set.Rows()
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, row := range rows {
		if r, ok := row.(snapshot.RuleRow); ok && r.Policy != "palisade" {
			rules = append(rules, r.Policy+"/"+r.Rule)
		}
	}
	if !slices.Equal(rules, []string{"machines/privileges/modules"}) {
		t.Errorf("rules %q", rules)
	}
}

// TestWarnOfExpiry: nothing looks at the clock after apply, so it says what will
// outlive its end; what has ended already is not in force.
func TestWarnOfExpiry(t *testing.T) {
	const policies = `
{apiVersion: policy.palisade.dev/v1alpha1, kind: NetworkPolicy, metadata: {namespace: shop, name: later}, spec: {subject: {pods: {}}, isolate: Ingress, expiresAt: "2026-11-25T00:00:00Z"}}
---
{apiVersion: policy.palisade.dev/v1alpha1, kind: NetworkPolicy, metadata: {namespace: shop, name: over}, spec: {subject: {pods: {}}, isolate: Ingress, expiresAt: "2026-11-22T00:00:00Z"}}
---
{apiVersion: policy.palisade.dev/v1alpha1, kind: ClusterwidePolicy, metadata: {name: never}, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{name: a, action: Deny}]}}
---
apiVersion: policy.palisade.dev/v1alpha1
kind: RuntimePolicy
metadata: {namespace: shop, name: db}
spec:
  subject: {pods: {}}
  executables:
    rules: [{name: shell, action: Deny, paths: [/usr/bin/dash]}]
    exceptions:
    - {name: repair, paths: [/usr/bin/dash], expiresAt: "2026-11-24T00:00:00Z", reason: repair}
    - {name: ended, paths: [/usr/bin/dash], expiresAt: "2026-11-21T00:00:00Z", reason: repair}
`
	objects, err := manifests.Read(t.Context(), []string{"-"}, manifests.Options{Stdin: strings.NewReader(policies)})
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	warnOfExpiry(&env{stderr: &stderr, now: func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }}, objects)
	const want = `palisade: warning: rtp/shop/db: the exception executables/repair ends at 2026-11-24T00:00:00Z, and holds until you apply again after that
palisade: warning: pnp/shop/later ends at 2026-11-25T00:00:00Z, and holds until you apply again after that
`
	if have := stderr.String(); have != want {
		t.Errorf("told\n%swant\n%s", have, want)
	}
}
