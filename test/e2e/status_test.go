package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

// TestStatusFollowsSubjects: what a policy says of itself before its subject runs,
// with it, and after it has gone.
func TestStatusFollowsSubjects(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	must(t, fmt.Sprintf(isolate, ns), "apply", "-f", "-")
	for _, kind := range []string{v1alpha1.ConditionProgrammed, v1alpha1.ConditionReady} {
		expectCondition(t, ns, "pnp/web", kind, metav1.ConditionTrue, v1alpha1.ReasonNoSubjects)
	}
	expectCondition(t, ns, "pnp/web", v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	launch(t, ns, "web@n1", "web2@n2/web")
	for _, kind := range []string{v1alpha1.ConditionProgrammed, v1alpha1.ConditionReady} {
		expectCondition(t, ns, "pnp/web", kind, metav1.ConditionTrue, v1alpha1.ReasonRealized)
	}
	pace.Until(t, "both nodes", func() error {
		s, err := policyStatus(ns, "pnp/web")
		if err != nil {
			return err
		}
		if n := s.Nodes; n.Desired != 2 || n.Realized != 2 || n.Failed != 0 || n.Unreachable != 0 {
			return fmt.Errorf("nodes %+v, want 2 desired and realized", n)
		}
		return nil
	})
	events(t, ns, "web", "Ready", v1alpha1.ReasonRealized)
	must(t, "", "delete", "pod", "-n", ns, "web", "web2")
	expectCondition(t, ns, "pnp/web", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonNoSubjects)
}

// events waits for an Event about a policy.
func events(t *testing.T, ns, name, action, reason string) {
	t.Helper()
	pace.Until(t, "an Event "+action+" "+reason, func() error {
		out, err := kubectl("", "get", "events.events.k8s.io", "-n", ns, "--field-selector", "reason="+reason,
			"-o", `jsonpath={range .items[*]}{.regarding.name} {.action} {.reason}: {.note}{"\n"}{end}`)
		if err != nil {
			return err
		}
		if !strings.Contains(out, name+" "+action+" "+reason+": ") {
			return fmt.Errorf("have %q", out)
		}
		return nil
	})
}

// TestExpiry: an isolation that expires opens what it closed, and says so.
func TestExpiry(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "other@n2")
	web, other := p[0], p[1]
	expiring := func(at time.Time) string {
		return strings.Replace(fmt.Sprintf(isolate, ns), "spec:\n", "spec:\n  expiresAt: "+at.UTC().Format(time.RFC3339)+"\n", 1)
	}
	ready(t, expiring(time.Now().Add(time.Hour)), ns+":pnp/web")
	expect(t, other, map[string]bool{web.tcp4(8080): false, web.tcp6(8080): false})
	expectCondition(t, ns, "pnp/web", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonRealized)

	must(t, expiring(time.Now().Add(5*time.Second)), "apply", "-f", "-")
	expectCondition(t, ns, "pnp/web", v1alpha1.ConditionExpired, metav1.ConditionTrue, v1alpha1.ReasonExpired)
	expectCondition(t, ns, "pnp/web", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonExpired)
	expect(t, other, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true})
	events(t, ns, "web", "Expired", v1alpha1.ReasonExpired)
}

// TestAddressOfAPodIsNotTakenOver: whoever may write ExternalWorkload objects must
// not get a policy's trust for a pod's address, nor turn a policy against it.
func TestAddressOfAPodIsNotTakenOver(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2", "other@n2")
	web, client, other := p[0], p[1], p[2]
	policy := strings.TrimRight(fmt.Sprintf(isolate, ns), "\n") + `
  - {name: trusted, action: Accept, from: [{externalWorkloads: {selector: {matchLabels: {app: trusted}}}}]}
  - {name: banned, action: Deny, from: [{externalWorkloads: {selector: {matchLabels: {app: banned}}}}]}
`
	ready(t, policy, ns+":pnp/web")
	asBefore := func() {
		t.Helper()
		expect(t, client, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true})
		expect(t, other, map[string]bool{web.tcp4(8080): false, web.tcp6(8080): false})
	}
	asBefore()
	const claim = `
---
apiVersion: policy.palisade.dev/v1alpha1
kind: ExternalWorkload
metadata: {name: %[2]s, namespace: %[1]s, labels: {app: %[2]s}}
spec: {addresses: [%[3]s/32, "%[4]s/128"]}
`
	must(t, fmt.Sprintf(claim, ns, "trusted", other.ip4, other.ip6)+fmt.Sprintf(claim, ns, "banned", client.ip4, client.ip6), "apply", "-f", "-")
	for _, name := range []string{"pew/trusted", "pew/banned"} {
		c := expectCondition(t, ns, name, v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonAddressConflict)
		if !strings.Contains(c.Message, other.ip4) && !strings.Contains(c.Message, client.ip4) {
			t.Errorf("%s: %q does not say which address", name, c.Message)
		}
	}
	asBefore()
	// The flow log keeps calling them pods.
	for _, f := range now(t, func() ([]flow, error) { return flows(ns) }) {
		if f.From.Kind == "external" {
			t.Errorf("a pod is taken for an external workload: %s", f)
		}
	}
}
