package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

// denyClient takes from client what isolate gives it.
const denyClient = `
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: no-client, namespace: %s}
spec:
  subject: {pods: {matchLabels: {app: web}}}
  isolate: None
  ingress: [{name: client, action: Deny, from: [{pods: {podSelector: {matchLabels: {app: client}}}}]}]
`

// guarded is a pod that one peer reaches and another does not, watched all the time.
type guarded struct {
	ns                 string
	web, client, other pod
	clients, others    *watcher
	kept               *watcher
	since              time.Time
}

func guard(t *testing.T) *guarded {
	t.Helper()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2", "other@n1")
	g := &guarded{ns: ns, web: p[0], client: p[1], other: p[2]}
	open := map[string]bool{g.web.tcp4(8080): true, g.web.tcp6(8080): true, g.web.tcp4(9090): true}
	expect(t, g.client, open)
	expect(t, g.other, open)
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	expect(t, g.other, map[string]bool{g.web.tcp4(8080): false, g.web.tcp6(8080): false})
	g.clients = watch(t, g.client, false, g.web.tcp4(8080), g.web.tcp6(8080), g.web.tcp4(9090))
	g.others = watch(t, g.other, false, g.web.tcp4(8080), g.web.tcp6(8080))
	g.kept = watch(t, g.client, true, g.web.tcp4(8080), g.web.tcp6(8080))
	g.since = time.Now()
	return g
}

// held checks that no try since the start came out wrong, and waits until there
// were so many more after a time.
func (g *guarded) held(t *testing.T, after time.Time) {
	t.Helper()
	g.clients.goesOn(t, after, 3, g.web.tcp4(8080), g.web.tcp6(8080), g.web.tcp4(9090))
	g.others.goesOn(t, after, 3, g.web.tcp4(8080), g.web.tcp6(8080))
	g.kept.goesOn(t, after, 3, g.web.tcp4(8080), g.web.tcp6(8080))
	g.clients.always(t, g.since, 3, map[string]bool{g.web.tcp4(8080): true, g.web.tcp6(8080): true, g.web.tcp4(9090): false})
	g.others.always(t, g.since, 3, map[string]bool{g.web.tcp4(8080): false, g.web.tcp6(8080): false})
	g.kept.always(t, g.since, 3, map[string]bool{g.web.tcp4(8080): true, g.web.tcp6(8080): true})
}

// TestAgentKilled kills the agents without warning. Nothing changes for anybody
// until they are back, nor when they adopt what they find; then they go on working.
func TestAgentKilled(t *testing.T) {
	onlyLocal(t)
	g := guard(t)
	restarts := now(t, agentRestarts)
	for _, node := range []string{"n1", "n2"} {
		killed := inside(t, node, "sh", "-c", `for f in $(grep -lsx nodeagent /proc/[0-9]*/comm); do
			p=${f#/proc/}; p=${p%/comm}; kill -9 "$p" && echo "$p"; done`)
		if strings.TrimSpace(killed) == "" {
			t.Fatalf("no agent was killed on %s", node)
		}
	}
	pace.Until(t, "agents are back", func() error {
		if n, err := agentRestarts(); err != nil {
			return err
		} else if n < restarts+2 {
			return fmt.Errorf("%d restarts, want %d", n, restarts+2)
		}
		ready, err := running(agentPart)
		if err == nil && len(ready) != 2 {
			err = fmt.Errorf("%d agents are Ready, want 2", len(ready))
		}
		return err
	})
	g.held(t, time.Now())
	ready(t, fmt.Sprintf(denyClient, g.ns), g.ns+":pnp/no-client")
	g.clients.becomes(t, g.web.tcp4(8080), false)
	g.kept.becomes(t, g.web.tcp6(8080), false)
}

func agentRestarts() (n int, err error) {
	out, err := kubectl("", "get", "pods", "-n", system, "-l", "app.kubernetes.io/name="+agentPart,
		"-o", `jsonpath={.items[*].status.containerStatuses[0].restartCount}`)
	if err != nil {
		return 0, err
	}
	for _, word := range strings.Fields(out) {
		var count int
		if _, err := fmt.Sscan(word, &count); err != nil {
			return 0, err
		}
		n += count
	}
	return n, nil
}

// TestAgentAway takes the agents off the nodes for as long as it takes to try: the
// nodes enforce what they had, a new policy is not called programmed, a new pod
// does not start unguarded; with the agents everything is made up for.
func TestAgentAway(t *testing.T) {
	g := guard(t)
	patch := func(selector string) {
		t.Helper()
		must(t, "", "patch", "daemonset", "-n", system, agentPart, "--type=merge", "-p",
			`{"spec":{"template":{"spec":{"nodeSelector":{"palisade.dev/e2e-away":`+selector+`}}}}}`)
	}
	back := func() {
		t.Helper()
		patch("null")
		must(t, "", "rollout", "status", "-n", system, "daemonset/"+agentPart, patient)
	}
	t.Cleanup(back)
	patch(`"true"`)
	gone(t, "pods", "-n", system, "-l", "app.kubernetes.io/name="+agentPart)
	left := time.Now()
	must(t, fmt.Sprintf(denyClient, g.ns), "apply", "-f", "-")
	pace.Until(t, "the controller has seen the policy", func() error {
		s, err := policyStatus(g.ns, "pnp/no-client")
		if err != nil {
			return err
		}
		for _, c := range s.Conditions {
			if c.Type == v1alpha1.ConditionAccepted && c.Status == metav1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", s.Conditions)
	})
	must(t, podManifest("web2", g.ns, "web", "n1", false, 8080), "apply", "-f", "-")
	g.held(t, left)
	status := now(t, func() (v1alpha1.PolicyStatus, error) { return policyStatus(g.ns, "pnp/no-client") })
	for _, c := range status.Conditions {
		if (c.Type == v1alpha1.ConditionProgrammed || c.Type == v1alpha1.ConditionReady) && c.Status == metav1.ConditionTrue {
			t.Errorf("%s is True while no agent is there: %s", c.Type, c.Message)
		}
	}
	if out := must(t, "", "get", "pod", "-n", g.ns, "web2", "-o", "jsonpath={.status.podIPs}"); out != "" {
		t.Errorf("a pod has started without an agent: %s", out)
	}
	// What was in force is said to be unconfirmed, not to be so.
	expectCondition(t, g.ns, "pnp/web", v1alpha1.ConditionProgrammed, metav1.ConditionUnknown, v1alpha1.ReasonNodeUnreachable)
	g.held(t, time.Now())
	back()
	expectCondition(t, g.ns, "pnp/web", v1alpha1.ConditionProgrammed, metav1.ConditionTrue, v1alpha1.ReasonRealized)
	must(t, "", "wait", "-n", g.ns, "--for=condition=Ready", "pnp/no-client", patient)
	g.clients.becomes(t, g.web.tcp4(8080), false)
	must(t, "", "wait", "-n", g.ns, "--for=condition=Ready", "pod/web2", patient)
	web2 := lookUp(t, g.ns, "web2")
	expect(t, g.other, map[string]bool{web2.tcp4(8080): false, web2.tcp6(8080): false})
}
