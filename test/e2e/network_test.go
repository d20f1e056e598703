package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// isolate allows web only from client, on TCP 8080.
const isolate = `
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: web, namespace: %s}
spec:
  subject: {pods: {matchLabels: {app: web}}}
  isolate: Ingress
  ingress:
  - name: client
    action: Accept
    from: [{pods: {podSelector: {matchLabels: {app: client}}}}]
    protocols: [{tcp: {destinationPort: {number: 8080}}}]
`

// TestIsolation is the whole path: kubectl apply, kubectl wait, and the kernel's
// verdict on IPv4 and IPv6, TCP and UDP, on one node and across nodes.
func TestIsolation(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2", "near@n1")
	web, client, near := p[0], p[1], p[2]

	open := map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true, web.tcp4(9090): true, web.udp4(8080): true}
	expect(t, client, open)
	expect(t, near, open)

	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	expect(t, client, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true, web.tcp4(9090): false, web.tcp6(9090): false, web.udp4(8080): false})
	expect(t, near, map[string]bool{web.tcp4(8080): false, web.tcp6(8080): false, web.tcp4(9090): false, web.udp4(8080): false})
	// What is isolated for ingress still opens connections, and gets the replies.
	expect(t, web, map[string]bool{client.tcp4(8080): true, client.tcp6(8080): true, near.tcp4(8080): true, near.udp4(8080): true})

	must(t, "", "delete", "-n", ns, "pnp/web")
	expect(t, near, open)
}

// TestUpstreamNetworkPolicy enforces Kubernetes' own kind by the same path.
func TestUpstreamNetworkPolicy(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2")
	web, client := p[0], p[1]
	must(t, fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: %s}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{ports: [{port: http}]}]
`, ns), "apply", "-f", "-")
	expect(t, client, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true, web.tcp4(9090): false, web.udp4(8080): false})
}

// TestNewPodIsIsolated starts a pod under a policy that is already in force: the
// policy holds for it without another compile by the time it is Ready, and its
// kubelet's probes pass.
func TestNewPodIsIsolated(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "other@n2", "client@n2")
	other, client := p[0], p[1]
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	web := launch(t, ns, "web@n1")[0]
	got, err := dial(other, web.tcp4(8080), web.tcp6(8080))
	if err != nil {
		t.Fatal(err)
	}
	for target, ok := range got {
		if ok {
			t.Errorf("%s answered a pod that the policy does not name", target)
		}
	}
	// It is the policy that was in the way: there is a path, and web answers.
	expect(t, other, map[string]bool{client.tcp4(8080): true, client.tcp6(8080): true})
	expect(t, client, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true})
}

// TestServiceAndNodePort judges by the backend, whatever address the client used.
func TestServiceAndNodePort(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2", "other@n1")
	web, client, other := p[0], p[1], p[2]
	must(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: web, namespace: %s}
spec:
  type: NodePort
  ipFamilyPolicy: RequireDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
`, ns), "apply", "-f", "-")
	ips := strings.Fields(must(t, "", "get", "service", "-n", ns, "web", "-o", "jsonpath={.spec.clusterIPs[0]} {.spec.clusterIPs[1]} {.spec.ports[0].nodePort}"))
	service4, service6 := "tcp/"+ips[0]+":80", "tcp/["+ips[1]+"]:80"
	expect(t, other, map[string]bool{service4: true, service6: true})
	// The backend's own node, and one that passes on in its own name.
	fromOutside := func(open bool) {
		t.Helper()
		if target.kind == "local" {
			expectFromOutside(t, map[string]bool{
				"tcp/10.90.0.11:" + ips[2]: open, "tcp/[fd00:10:90::11]:" + ips[2]: open,
				"tcp/10.90.0.12:" + ips[2]: open, "tcp/[fd00:10:90::12]:" + ips[2]: open,
			})
		}
	}
	fromOutside(true)

	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	expect(t, client, map[string]bool{service4: true, service6: true})
	expect(t, other, map[string]bool{service4: false, service6: false, web.tcp4(8080): false})
	fromOutside(false)
}

// TestHostNetwork: a pod with host networking is its node. Its own node reaches
// a pod whatever the policy says; another node does not.
func TestHostNetwork(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	web := launch(t, ns, "web@n1")[0]
	near, far := launchOnHost(t, ns, "near", "n1", 18080), launchOnHost(t, ns, "far", "n2", 18080)
	expect(t, far, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true})

	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	expect(t, near, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true})
	expect(t, far, map[string]bool{web.tcp4(8080): false, web.tcp6(8080): false})
}

// TestAudit observes and does not enforce; promoting the policy does.
func TestAudit(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "other@n2")
	web, other := p[0], p[1]
	audit := strings.Replace(fmt.Sprintf(isolate, ns), "spec:\n", "spec:\n  mode: Audit\n", 1)
	ready(t, audit, ns+":pnp/web")
	expect(t, other, map[string]bool{web.tcp4(8080): true})
	message := must(t, "", "get", "-n", ns, "pnp/web", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].message}`)
	if !strings.Contains(message, "observing, not enforcing") {
		t.Errorf("Ready says %q, not that the policy only observes", message)
	}
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	expect(t, other, map[string]bool{web.tcp4(8080): false})
}
