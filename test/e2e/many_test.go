package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

// TestManyPolicies applies 200 policies at once. Each accepts one port, so that
// the verdicts show that all are in force and not only some.
func TestManyPolicies(t *testing.T) {
	t.Parallel()
	const policies, first = 200, 7985 // 8080 is in the middle, 9090 is not in
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2")
	web, client := p[0], p[1]
	expect(t, client, map[string]bool{web.tcp4(8080): true, web.tcp4(9090): true})
	var manifest strings.Builder
	for i := range policies {
		fmt.Fprintf(&manifest, `---
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: port-%d, namespace: %s}
spec:
  subject: {pods: {matchLabels: {app: web}}}
  isolate: Ingress
  ingress: [{name: port, action: Accept, from: [{pods: {podSelector: {matchLabels: {app: client}}}}], protocols: [{tcp: {destinationPort: {number: %d}}}]}]
`, first+i, ns, first+i)
	}
	must(t, manifest.String(), "apply", "-f", "-")
	applied := time.Now()
	// Not by kubectl wait: it asks for one policy at a time, five in a second.
	pace.Until(t, fmt.Sprintf("%d policies being in force", policies), func() error { return allInForce(ns, policies) })
	t.Logf("%d policies are in force %.1f s after the last was applied", policies, time.Since(applied).Seconds())
	expect(t, client, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true, web.tcp4(9090): false, web.tcp6(9090): false})
	// Each counts: the one that opened the port closes it when it goes.
	must(t, "", "delete", "-n", ns, "pnp/port-8080")
	expect(t, client, map[string]bool{web.tcp4(8080): false, web.tcp6(8080): false})
}

// allInForce checks that so many policies say, of their present spec, that their one node
// has realised it.
func allInForce(ns string, policies int) error {
	var list struct {
		Items []struct {
			Metadata struct {
				Name       string
				Generation int64
			}
			Status v1alpha1.PolicyStatus
		}
	}
	if err := read(&list, "get", "pnp", "-n", ns, "-o", "json"); err != nil {
		return err
	}
	if len(list.Items) != policies {
		return fmt.Errorf("there are %d", len(list.Items))
	}
	for i, item := range list.Items {
		ok := item.Status.ObservedGeneration == item.Metadata.Generation && item.Status.Nodes.Desired == 1 && item.Status.Nodes.Realized == 1
		for _, c := range item.Status.Conditions {
			ok = ok && c.Status == metav1.ConditionTrue
		}
		if !ok {
			return fmt.Errorf("%s, after %d others, is not: %+v", item.Metadata.Name, i, item.Status)
		}
	}
	return nil
}
