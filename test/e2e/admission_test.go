package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestAdmission: what is wrong is refused at once, with the reason, and what was
// in force before stays.
func TestAdmission(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "other@n2")
	web, other := p[0], p[1]
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	expect(t, other, map[string]bool{web.tcp4(8080): false})
	spec := must(t, "", "get", "-n", ns, "pnp/web", "-o", "jsonpath={.spec}")

	const header = "apiVersion: policy.palisade.dev/v1alpha1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: %s}\nspec:\n"
	for name, tc := range map[string]struct{ spec, reason string }{
		"no isolate":            {"  subject: {pods: {}}\n", "isolate"},
		"host bits in a CIDR":   {"  subject: {pods: {}}\n  isolate: Ingress\n  ingress: [{name: lan, action: Accept, from: [{networks: [10.1.2.3/8]}]}]\n", "10.1.2.3/8"},
		"two subjects":          {"  subject: {pods: {}, externalWorkloads: {}}\n  isolate: Ingress\n", "subject"},
		"ports upside down":     {"  subject: {pods: {}}\n  isolate: Ingress\n  ingress: [{name: r, action: Accept, protocols: [{tcp: {destinationPort: {range: {start: 90, end: 80}}}}]}]\n", "range"},
		"an action of others":   {"  subject: {pods: {}}\n  isolate: Ingress\n  ingress: [{name: r, action: Allow}]\n", "Allow"},
		"an unknown field":      {"  subject: {pods: {}}\n  isolate: Ingress\n  ingres: []\n", "ingres"},
		"a rule without a name": {"  subject: {pods: {}}\n  isolate: Ingress\n  ingress: [{action: Deny}]\n", "name"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := kubectl(fmt.Sprintf(header, ns)+tc.spec, "apply", "-f", "-")
			if err == nil {
				t.Fatalf("it was accepted: %s", out)
			}
			if !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("the refusal does not name %q: %v", tc.reason, err)
			}
		})
	}
	t.Run("webhook: the policy system cut off", func(t *testing.T) {
		name := "e2e-" + ns
		cleanUp(t, "cwp/"+name)
		out, err := kubectl(fmt.Sprintf(`
apiVersion: policy.palisade.dev/v1alpha1
kind: ClusterwidePolicy
metadata: {name: %s}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: %s}}}
  ingress: [{name: all, action: Deny}]
`, name, system), "apply", "-f", "-")
		if err == nil {
			t.Fatalf("it was accepted: %s", out)
		}
		for _, want := range []string{"rule 37", "spec.ingress", "cwp/" + name} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the refusal does not say %q: %v", want, err)
			}
		}
	})
	if now := must(t, "", "get", "-n", ns, "pnp/web", "-o", "jsonpath={.spec}"); now != spec {
		t.Errorf("the spec has become %s", now)
	}
	expect(t, other, map[string]bool{web.tcp4(8080): false})
}
