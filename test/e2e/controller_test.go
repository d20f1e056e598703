package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

// TestControllerAway takes the controllers away: nodes go on, policies cannot be
// changed, pods start all the same but get no visitors. Back again, what waited is done, and every
// replica and every node agree on what is in force.
func TestControllerAway(t *testing.T) {
	g := guard(t)
	scale := func(replicas int) {
		t.Helper()
		must(t, "", "scale", "-n", system, "deployment/"+controllerPart, fmt.Sprintf("--replicas=%d", replicas))
	}
	back := func() {
		t.Helper()
		scale(2)
		must(t, "", "rollout", "status", "-n", system, "deployment/"+controllerPart, patient)
	}
	t.Cleanup(back)
	scale(0)
	gone(t, "pods", "-n", system, "-l", "app.kubernetes.io/name="+controllerPart)
	left := time.Now()
	out, err := kubectl(fmt.Sprintf(denyClient, g.ns), "apply", "-f", "-")
	if err == nil {
		t.Errorf("a policy was taken although nobody judges it: %s", out)
	} else if !strings.Contains(err.Error(), "policies.policy.palisade.dev") {
		t.Errorf("the refusal does not name the webhook: %v", err)
	}
	started := launch(t, g.ns, "web2@n1/web", "other2@n2/other")
	// An old pod is judged by what it was, whoever asks.
	expect(t, started[1], map[string]bool{g.web.tcp4(8080): false, g.web.tcp6(8080): false, g.web.tcp4(9090): false})
	// A new pod is in no snapshot, so nothing says who may visit it: nobody does.
	expect(t, g.other, map[string]bool{started[0].tcp4(8080): false, started[0].tcp6(8080): false})
	g.held(t, left)

	back()
	must(t, "", "wait", "-n", g.ns, "--for=condition=Ready", "pnp/web", patient)
	expect(t, g.client, map[string]bool{started[0].tcp4(8080): true, started[0].tcp6(8080): true, started[0].tcp4(9090): false})
	expect(t, g.other, map[string]bool{started[0].tcp4(8080): false, started[0].tcp6(8080): false})
	g.held(t, time.Now())
	sameDigests(t)
	pace.Until(t, "a policy is taken again", func() error {
		_, err := kubectl(fmt.Sprintf(denyClient, g.ns), "apply", "-f", "-")
		return err
	})
	expectCondition(t, g.ns, "pnp/no-client", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonRealized)
	g.clients.becomes(t, g.web.tcp4(8080), false)
	sameDigests(t)
}

// gone waits until kubectl finds nothing.
func gone(t *testing.T, what ...string) {
	t.Helper()
	pace.Until(t, strings.Join(what, " ")+" are gone", func() error {
		out, err := kubectl("", append([]string{"get", "-o", "name"}, what...)...)
		if err == nil && out != "" {
			err = fmt.Errorf("there are %q", out)
		}
		return err
	})
}

// sameDigests: what nodes enforce, by digest, is what the leader published and
// what the other replica has compiled for itself.
func sameDigests(t *testing.T) {
	t.Helper()
	pace.Until(t, "one digest a node", func() error {
		controllers, err := published()
		if err != nil {
			return err
		}
		if len(controllers) != 2 || !controllers[0].Leader || controllers[1].Leader {
			return fmt.Errorf("controllers: %+v", controllers)
		}
		agents, err := running(agentPart)
		if err != nil {
			return err
		}
		if len(agents) != target.agents {
			return fmt.Errorf("agents: %v", agents)
		}
		for agent, node := range agents {
			var status struct {
				Digest    string
				Connected bool
			}
			text, err := proxied(agent, 9444, "status")
			if err != nil {
				return err
			}
			if err := decode(text, &status); err != nil {
				return err
			}
			var host struct{ Digest string }
			if err := read(&host, "exec", "-n", system, agent, "-c", "nodeagent", "--", "/palisade", "host", "-o", "json"); err != nil {
				return err
			}
			for who, digest := range map[string]string{
				"leader": controllers[0].Nodes[node], "other replica": controllers[1].Nodes[node], "agent": status.Digest, "kernel": host.Digest,
			} {
				if len(digest) != 64 || digest != controllers[0].Nodes[node] {
					return fmt.Errorf("%s: the %s says %q, the leader %q", node, who, digest, controllers[0].Nodes[node])
				}
			}
			if !status.Connected {
				return fmt.Errorf("%s: the agent is not connected", node)
			}
		}
		return nil
	})
}

// TestDigests: after a change, and after it is taken back, every node and both
// replicas say the same; the change makes another digest, and what was before makes
// that of before.
func TestDigests(t *testing.T) {
	ns := namespace(t)
	settled(t, ns)
	launch(t, ns, "web@n1")
	digest := func() (string, error) {
		all, err := published()
		if err != nil {
			return "", err
		}
		if len(all) == 0 {
			return "", errors.New("no controller is Ready")
		}
		return all[0].Nodes[place("n1")], nil
	}
	becomes := func(what string, right func(string) bool) {
		t.Helper()
		pace.Until(t, what, func() error {
			got, err := digest()
			if err == nil && !right(got) {
				err = fmt.Errorf("it is %s", got)
			}
			return err
		})
		sameDigests(t)
	}
	// The first time shows that what other tests left is gone from the digests too.
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	with := now(t, digest)
	must(t, "", "delete", "-n", ns, "pnp/web")
	becomes("a digest without the policy", func(d string) bool { return d != with })
	without := now(t, digest)

	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	sameDigests(t)
	if got := now(t, digest); got == without {
		t.Errorf("the digest of n1 is %s with and without a policy", got)
	}
	must(t, "", "delete", "-n", ns, "pnp/web")
	becomes("the digest of before", func(d string) bool { return d == without })
}
