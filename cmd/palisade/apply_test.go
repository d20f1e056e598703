package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/cmd/palisade/manifests"
)

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
