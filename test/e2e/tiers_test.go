package e2e

import (
	"fmt"
	"testing"
)

// wide is a ClusterwidePolicy about one namespace's web, with one ingress rule.
const wide = `
---
apiVersion: policy.palisade.dev/v1alpha1
kind: ClusterwidePolicy
metadata: {name: %[2]s-%[3]s}
spec:
  tier: %[4]s
  priority: %[5]d
  subject: {pods: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}, podSelector: {matchLabels: {app: web}}}}
  ingress: [{name: rule, action: %[6]s, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: %[7]s}}}}]}]
`

// TestTiers takes policies away one by one, from the strongest on, so that each
// verdict shows that the next one decides.
func TestTiers(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	prefix := "e2e-tiers-" + ns
	p := launch(t, ns, "web@n1", "client@n2", "other@n1")
	web, client, other := p[0], p[1], p[2]
	both := func(client4, other4 bool) {
		t.Helper()
		expect(t, client, map[string]bool{web.tcp4(8080): client4, web.tcp6(8080): client4})
		expect(t, other, map[string]bool{web.tcp4(8080): other4, web.tcp6(8080): other4})
	}
	both(true, true)

	apply := func(name, tier string, priority int, action, app string) {
		t.Helper()
		cleanUp(t, "cwp/"+prefix+"-"+name)
		ready(t, fmt.Sprintf(wide, ns, prefix, name, tier, priority, action, app), ":cwp/"+prefix+"-"+name)
	}
	remove := func(name string) {
		t.Helper()
		must(t, "", "delete", "cwp/"+prefix+"-"+name)
	}
	apply("base-client", "Baseline", 5, "Deny", "client")
	apply("base-other", "Baseline", 5, "Deny", "other")
	both(false, false)
	// The Namespace tier comes before Baseline: client is accepted; other is not
	// matched by a rule, and isolation decides.
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	both(true, false)
	// Admin comes before both; the lower priority decides.
	apply("late-client", "Admin", 20, "Deny", "client")
	apply("late-other", "Admin", 20, "Accept", "other")
	both(false, true)
	apply("early-client", "Admin", 10, "Accept", "client")
	apply("early-other", "Admin", 10, "Deny", "other")
	both(true, false)
	remove("early-client")
	remove("early-other")
	both(false, true)
	// Pass leaves the Admin tier to the Namespace tier, and late is not heard.
	apply("early-client", "Admin", 10, "Pass", "client")
	apply("early-other", "Admin", 10, "Pass", "other")
	both(true, false)
	// Without the Namespace tier it is Baseline's again.
	must(t, "", "delete", "-n", ns, "pnp/web")
	both(false, false)
	remove("base-client")
	both(true, false)
}
