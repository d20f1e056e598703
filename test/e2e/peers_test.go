package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The host beside the local cluster (hack/cluster/cluster exec out).
const (
	outside4 = "10.90.0.100"
	outside6 = "fd00:10:90::100"
)

// beside is held by tests that say what the host outside is: it is one for all.
var beside sync.Mutex

// outside serves on the host beside the cluster.
func outside(t *testing.T, port int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(repo, "hack/cluster/cluster"), "exec", "out", filepath.Join(repo, "bin/probe"), "serve", "--tcp", fmt.Sprint(port), "--reply", "outside")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
}

// dialFromOutside dials from the host beside the cluster.
func dialFromOutside(t *testing.T, targets ...string) (map[string]bool, error) {
	t.Helper()
	out := inside(t, "out", append([]string{filepath.Join(repo, "bin/probe"), "dial", "--timeout=1s"}, targets...)...)
	return answers(out, len(targets))
}

func expectFromOutside(t *testing.T, want map[string]bool) {
	t.Helper()
	var targets []string
	for target := range want {
		targets = append(targets, target)
	}
	pace.Until(t, "connections from outside", func() error {
		got, err := dialFromOutside(t, targets...)
		if err != nil {
			return err
		}
		return compare(got, want)
	})
}

// TestExternalWorkload: a host outside the cluster is a peer by its labels, and its
// neighbours are not; what it loses when the object goes.
func TestExternalWorkload(t *testing.T) {
	onlyLocal(t)
	t.Parallel()
	beside.Lock()
	defer beside.Unlock()
	ns := namespace(t)
	web := launch(t, ns, "web@n1")[0]
	open := map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true}
	closed := map[string]bool{web.tcp4(8080): false, web.tcp6(8080): false}
	expectFromOutside(t, open)
	ready(t, fmt.Sprintf(`
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: web, namespace: %s}
spec:
  subject: {pods: {matchLabels: {app: web}}}
  isolate: Ingress
  ingress: [{name: billing, action: Accept, from: [{externalWorkloads: {selector: {matchLabels: {app: billing}}}}]}]
`, ns), ns+":pnp/web")
	expectFromOutside(t, closed)
	ready(t, fmt.Sprintf(`
apiVersion: policy.palisade.dev/v1alpha1
kind: ExternalWorkload
metadata: {name: billing, namespace: %s, labels: {app: billing}}
spec: {addresses: [%s/32, "%s/128"]}
`, ns, outside4, outside6), ns+":pew/billing")
	expectFromOutside(t, open)
	must(t, "", "label", "-n", ns, "pew/billing", "--overwrite", "app=archive")
	expectFromOutside(t, closed)
	must(t, "", "label", "-n", ns, "pew/billing", "--overwrite", "app=billing")
	expectFromOutside(t, open)
	must(t, "", "delete", "-n", ns, "pew/billing")
	expectFromOutside(t, closed)
}

// TestAddressGroup: a policy follows the group that it names.
func TestAddressGroup(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2", "other@n2")
	web, client, other := p[0], p[1], p[2]
	name := "e2e-" + ns
	group := func(p pod) string {
		return fmt.Sprintf(`
apiVersion: policy.palisade.dev/v1alpha1
kind: AddressGroup
metadata: {name: %s}
spec: {cidrs: [%s/32, "%s/128"]}
`, name, p.ip4, p.ip6)
	}
	cleanUp(t, "pag/"+name)
	from := func(p pod, ok bool) {
		t.Helper()
		expect(t, p, map[string]bool{web.tcp4(8080): ok, web.tcp6(8080): ok})
	}
	from(client, true)
	ready(t, group(client)+fmt.Sprintf(`
---
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: web, namespace: %s}
spec:
  subject: {pods: {matchLabels: {app: web}}}
  isolate: Ingress
  ingress: [{name: group, action: Accept, from: [{addressGroups: [%s]}]}]
`, ns, name), ns+":pnp/web", ":pag/"+name)
	from(client, true)
	from(other, false)
	ready(t, group(other), ":pag/"+name)
	from(other, true)
	from(client, false)
}

// TestEntities: World is what is no endpoint, Cluster the rest, APIServer the
// addresses behind the Service kubernetes.
func TestEntities(t *testing.T) {
	onlyLocal(t)
	t.Parallel()
	beside.Lock()
	defer beside.Unlock()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2")
	web, client := p[0], p[1]
	outside(t, 8088)
	api := kubernetesService(t)
	world4, world6 := "tcp/"+outside4+":8088", "tcp/["+outside6+"]:8088"
	inCluster4, inCluster6 := web.tcp4(8080), web.tcp6(8080)
	reach := func(cluster, world, server bool) {
		t.Helper()
		expect(t, client, map[string]bool{inCluster4: cluster, inCluster6: cluster, world4: world, world6: world})
		pace.Until(t, "connection to the API server", func() error {
			got, err := connects(client, api)
			if err == nil && got != server {
				err = fmt.Errorf("it connects: %t, want %t", got, server)
			}
			return err
		})
	}
	reach(true, true, true)
	const policy = `
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: client, namespace: %s}
spec:
  subject: {pods: {matchLabels: {app: client}}}
  isolate: %s
  egress: [{name: rule, action: %s, to: [{entities: [%s]}]}]
`
	ready(t, fmt.Sprintf(policy, ns, "None", "Deny", "World"), ns+":pnp/client")
	// In this cluster the API server runs on a machine that is no node.
	reach(true, false, false)
	ready(t, fmt.Sprintf(policy, ns, "Egress", "Accept", "World"), ns+":pnp/client")
	reach(false, true, true)
	ready(t, fmt.Sprintf(policy, ns, "Egress", "Accept", "Cluster"), ns+":pnp/client")
	reach(true, false, false)
	ready(t, fmt.Sprintf(policy, ns, "Egress", "Accept", "APIServer"), ns+":pnp/client")
	reach(false, false, true)
}

func kubernetesService(t *testing.T) string {
	t.Helper()
	return "tcp/" + must(t, "", "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
}

// connects reports whether a TCP connection is made, even to a server that waits
// for the client to speak first.
func connects(from pod, address string) (bool, error) {
	var r struct{ Error string }
	err := read(&r, "exec", "-n", from.namespace, from.name, "--", "/probe", "dial", "--timeout=1s", address)
	// A dial that is denied names the dial; a server that says nothing, the read.
	return !strings.HasPrefix(r.Error, "dial"), err
}
