package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestEveryDenialIsNamed: whoever is denied finds in the flow log which tier,
// policy and rule did it, for explicit rules, isolation, and both directions; and
// a rule with log: true writes down what it accepts.
func TestEveryDenialIsNamed(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2", "other@n2", "mute@n1")
	web, client, other, mute := p[0], p[1], p[2], p[3]
	expect(t, other, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true})
	// A pod gets no visitors before its node knows it, and that is written down.
	records := func() ([]flow, error) { return flows(ns) }
	early := now(t, records)
	expect(t, other, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true})
	if got := now(t, records); len(got) > len(early) {
		t.Errorf("before any policy, there are records: %v", got[len(early):])
	}

	wide := "e2e-named-" + ns
	cleanUp(t, "cwp/"+wide)
	ready(t, fmt.Sprintf(`
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: web, namespace: %[1]s}
spec:
  subject: {pods: {matchLabels: {app: web}}}
  isolate: Ingress
  ingress:
  - {name: no-admin-port, action: Deny, from: [{pods: {podSelector: {matchLabels: {app: client}}}}], protocols: [{tcp: {destinationPort: {number: 9090}}}]}
  - {name: client, action: Accept, from: [{pods: {podSelector: {matchLabels: {app: client}}}}], protocols: [{tcp: {}}], log: true}
---
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: mute, namespace: %[1]s}
spec:
  subject: {pods: {matchLabels: {app: mute}}}
  isolate: Egress
---
apiVersion: policy.palisade.dev/v1alpha1
kind: ClusterwidePolicy
metadata: {name: %[2]s}
spec:
  tier: Admin
  priority: 7
  subject: {pods: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}, podSelector: {matchLabels: {app: other}}}}
  ingress:
  - {name: no-udp, action: Deny, protocols: [{udp: {}}]}
`, ns, wide), ns+":pnp/web", ns+":pnp/mute", ":cwp/"+wide)
	judged := map[pod]map[string]bool{
		client: {web.tcp4(8080): true, web.tcp6(8080): true, web.tcp4(9090): false, web.tcp6(9090): false, web.udp4(8080): false, other.udp4(8080): false},
		other:  {web.tcp4(8080): false, web.tcp6(8080): false},
		mute:   {client.tcp4(8080): false, client.tcp6(8080): false},
	}

	type record struct {
		from, to           pod
		protocol           string
		port               int
		verdict, dir       string
		tier, policy, rule string
		families           int
	}
	pnp := func(name string) string { return "pnp/" + ns + "/" + name }
	for name, want := range map[string]record{
		"a rule that denies":   {from: client, to: web, protocol: "tcp", port: 9090, verdict: "Deny", dir: "Ingress", tier: "Namespace", policy: pnp("web"), rule: "no-admin-port", families: 2},
		"isolation":            {from: other, to: web, protocol: "tcp", port: 8080, verdict: "Deny", dir: "Ingress", tier: "Namespace", policy: pnp("web"), rule: "(isolated)", families: 2},
		"isolation, UDP":       {from: client, to: web, protocol: "udp", port: 8080, verdict: "Deny", dir: "Ingress", tier: "Namespace", policy: pnp("web"), rule: "(isolated)", families: 1},
		"isolation for egress": {from: mute, to: client, protocol: "tcp", port: 8080, verdict: "Deny", dir: "Egress", tier: "Namespace", policy: pnp("mute"), rule: "(isolated)", families: 2},
		"the Admin tier":       {from: client, to: other, protocol: "udp", port: 8080, verdict: "Deny", dir: "Ingress", tier: "Admin", policy: "cwp/" + wide, rule: "no-udp", families: 1},
		"log: true, an accept": {from: client, to: web, protocol: "tcp", port: 8080, verdict: "Allow", dir: "Ingress", tier: "Namespace", policy: pnp("web"), rule: "client", families: 2},
	} {
		t.Run(name, func(t *testing.T) {
			pace.Until(t, "a record", func() error {
				// An agent keeps the last records only.
				if err := tries(want.from, judged[want.from]); err != nil {
					return err
				}
				families := map[bool]bool{}
				all, err := flows(ns)
				if err != nil {
					return err
				}
				for _, f := range all {
					if f.Verdict == want.verdict && f.Direction == want.dir && f.Tier == want.tier && f.Policy == want.policy && f.Rule == want.rule &&
						f.Protocol == want.protocol && f.To.Port == want.port && f.From.Kind == "pod" && f.To.Kind == "pod" &&
						f.From.Namespace+"/"+f.From.Name == want.from.String() && f.To.Namespace+"/"+f.To.Name == want.to.String() &&
						(f.From.Addr == want.from.ip4 && f.To.Addr == want.to.ip4 || f.From.Addr == want.from.ip6 && f.To.Addr == want.to.ip6) {
						families[strings.Contains(f.From.Addr, ":")] = true
					}
				}
				if len(families) < want.families {
					return fmt.Errorf("found it in %d of %d families among %v", len(families), want.families, all)
				}
				return nil
			})
		})
	}
}
