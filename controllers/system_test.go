package controllers_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/snapshot/wire"
	"palisade.dev/palisade/test/poll"
)

// TestFromApplyToReady is the thin path: a policy is applied, an agent gets it,
// and status tells the truth at each step.
func TestFromApplyToReady(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.node("n1"), w.node("n2")
	w.pod("db", n1, "10.1.0.1", app("db"))
	w.pod("backend", n2, "10.1.0.2", app("backend"))
	c := w.start()
	p := w.isolate("db", "db", "backend")
	w.create(p)
	// No agent yet: the node is waited for.
	w.expect(p, "Accepted=True/Accepted", "Programmed=False/Pending", "Ready=False/Pending", "Reconciling=True/Pending")
	if p.Status.Nodes.Desired != 1 || p.Status.Endpoints != 1 {
		t.Errorf("nodes %+v, endpoints %d", p.Status.Nodes, p.Status.Endpoints)
	}

	a := c.agent(n1)
	w.run(a)
	w.expect(p, "Accepted=True/Accepted", "Programmed=True/Realized", "Ready=True/Realized", "Reconciling=", "Stalled=")
	if p.Status.Nodes != (v1alpha1.NodeCounts{Desired: 1, Realized: 1}) || p.Status.SnapshotGeneration == 0 {
		t.Errorf("status %+v", p.Status)
	}
	if got := rules(t, c.synced(a)); !got["db/from-backend"] || !got["db/(isolated)"] {
		t.Errorf("rules on the node: %v", got)
	}
	generation, _ := a.State()
	if generation.Counter < uint64(p.Status.SnapshotGeneration) {
		t.Errorf("node holds %s, status says %d", generation, p.Status.SnapshotGeneration)
	}
	poll.Until(w, "the event", func() error { return w.event(p.Name, v1alpha1.ReasonRealized) })

	// Another spec is another wait, and another generation.
	before := p.Status.SnapshotGeneration
	w.update(p, func() { p.Spec.Ingress = p.Spec.Ingress[:0] })
	w.expect(p, "Programmed=True/Realized")
	if p.Status.SnapshotGeneration <= before {
		t.Errorf("generation %d after %d", p.Status.SnapshotGeneration, before)
	}
	if got := rules(t, c.synced(a)); got["db/from-backend"] {
		t.Errorf("rules on the node: %v", got)
	}
	w.delete(p)
	poll.Until(w, "the policy being gone from the node", func() error {
		if got := rules(t, c.synced(a)); len(got) > 0 {
			return fmt.Errorf("rules %v", got)
		}
		return nil
	})
	poll.Until(w, "its record being gone", func() error { return w.records(0) })
}

func (w *world) event(object, reason string) error {
	var list eventsv1.EventList
	if err := w.client.List(context.Background(), &list, client.InNamespace(w.namespace)); err != nil {
		return err
	}
	for _, e := range list.Items {
		if e.Regarding.Name == object && e.Reason == reason {
			return nil
		}
	}
	return fmt.Errorf("no event %s among %d", reason, len(list.Items))
}

func TestNodesThatDoNotEnforce(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.1.1", app("db"))
	clock := newClock()
	c := w.start(withClock(clock))
	p := w.isolate("db", "db")
	w.create(p)
	a := c.agent(n1)
	var refuse atomic.Bool
	refuse.Store(true)
	a.Answer = func(*wire.Transfer) *wire.Refuse {
		if refuse.Load() {
			return &wire.Refuse{Reason: wire.ReasonKernel, Message: "the verifier says no"}
		}
		return nil
	}
	w.run(a)
	w.expect(p, "Programmed=False/NodeRefused", "Ready=False/NodeRefused", "Stalled=True/NodeRefused")
	if len(p.Status.Failures) != 1 || p.Status.Failures[0].Node != n1 || !strings.Contains(p.Status.Failures[0].Reason, "the verifier says no") {
		t.Errorf("failures %+v", p.Status.Failures)
	}
	refuse.Store(false)
	w.pod("other", n1, "10.1.1.2", app("other"))
	w.expect(p, "Ready=True/Realized", "Stalled=")

	a.Report(&wire.Report{Conditions: []*wire.Condition{{Type: wire.ConditionEnforcing, Reason: v1alpha1.ReasonDatapathBypassed, Message: "eth1 is a macvlan"}}})
	w.expect(p, "Programmed=False/DatapathBypassed", "Ready=False/DatapathBypassed")
	a.Report(&wire.Report{Conditions: []*wire.Condition{{Type: wire.ConditionEnforcing, Holds: true}}})
	w.expect(p, "Ready=True/Realized")

	// A second node, not Ready and without an agent, holds nobody up.
	n2 := w.node("n2")
	w.setReady(n2, corev1.ConditionUnknown)
	w.pod("db-2", n2, "10.1.1.3", app("db"))
	poll.Until(w, "the node that is not Ready being counted", func() error {
		w.expect(p, "Ready=True/Realized")
		if p.Status.Nodes != (v1alpha1.NodeCounts{Desired: 2, Realized: 1, Unreachable: 1}) {
			return fmt.Errorf("nodes %+v", p.Status.Nodes)
		}
		return nil
	})
	// Ready, but nobody answers: nothing changes for 30 s, then it is said.
	w.setReady(n2, corev1.ConditionTrue)
	w.expect(p, "Ready=True/Realized")
	clock.forward(31 * time.Second)
	w.expect(p, "Ready=Unknown/NodeUnreachable")
	w.run(c.agent(n2))
	w.expect(p, "Ready=True/Realized")
}

// TestRefusedSpecLeavesTheOld: over capacity, the last accepted spec stays in
// force, also for a controller that starts later.
func TestRefusedSpecLeavesTheOld(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.2.1", app("db"))
	for i := range 6 {
		w.pod(fmt.Sprintf("web-%d", i), n1, fmt.Sprintf("10.1.2.1%d", i), app(fmt.Sprintf("web-%d", i)))
	}
	limits := withLimits(compile.Options{CellsPerRuleset: 4})
	c := w.start(limits)
	p := w.isolate("db", "db", "web-0")
	w.create(p)
	a := c.agent(n1)
	stop := w.run(a)
	w.expect(p, "Ready=True/Realized")
	w.update(p, func() {
		for i := 1; i < 6; i++ {
			p.Spec.Ingress = append(p.Spec.Ingress, w.isolate("", "", fmt.Sprintf("web-%d", i)).Spec.Ingress...)
		}
	})
	refused := []string{"Accepted=False/OverCapacity", "Programmed=False/NotAccepted", "Ready=False/OverCapacity", "Stalled=True/OverCapacity"}
	w.expect(p, refused...)
	for _, cond := range p.Status.Conditions {
		if cond.Type == "Accepted" && !strings.Contains(cond.Message, "the last accepted spec stays in force") {
			t.Errorf("message %q", cond.Message)
		}
	}
	if got := rules(t, c.synced(a)); len(got) != 2 || !got["db/from-web-0"] {
		t.Errorf("rules on the node: %v", got)
	}
	digest, _ := c.Store.Digest(modelNode(n1))
	stop()
	c.stop()

	again := w.start(limits)
	w.expect(p, refused...)
	if got, _ := again.Store.Digest(modelNode(n1)); got != digest {
		t.Error("after a restart another state is served")
	}
	// A spec that fits is accepted.
	w.update(p, func() { p.Spec.Ingress = p.Spec.Ingress[1:2] })
	a.Address = again.address
	w.run(a)
	w.expect(p, "Accepted=True/Accepted", "Ready=True/Realized", "Stalled=")
	if got := rules(t, again.synced(a)); len(got) != 2 || !got["db/from-web-1"] {
		t.Errorf("rules on the node: %v", got)
	}
	poll.Until(w, "old records being dropped", func() error { return w.records(1) })
}

func TestExpiry(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.3.1", app("db"))
	clock := newClock()
	c := w.start(withClock(clock))
	a := c.agent(n1)
	w.run(a)
	p := w.isolate("db", "db")
	at := metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second))
	p.Spec.ExpiresAt = &at
	w.create(p)
	w.expect(p, "Ready=True/Realized", "Expired=")
	poll.Until(w, "the end being announced", func() error { return w.event("db", "Expiring") })
	clock.forward(time.Hour)
	w.expect(p, "Accepted=True/Expired", "Programmed=True/Expired", "Ready=True/Expired", "Expired=True/Expired")
	poll.Until(w, "the policy being out of force", func() error {
		if got := rules(t, c.synced(a)); len(got) > 0 {
			return fmt.Errorf("rules %v", got)
		}
		return nil
	})
	w.update(p, func() {
		later := metav1.NewTime(at.Add(2 * time.Hour))
		p.Spec.ExpiresAt = &later
	})
	w.expect(p, "Accepted=True/Accepted", "Ready=True/Realized", "Expired=")
	poll.Until(w, "the policy being in force again", func() error {
		if got := rules(t, c.synced(a)); !got["db/(isolated)"] {
			return fmt.Errorf("rules %v", got)
		}
		return nil
	})
}

func TestAudit(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.4.1", app("db"))
	c := w.start()
	p := w.isolate("db", "db")
	p.Spec.Mode = v1alpha1.ModeAudit
	w.create(p)
	w.run(c.agent(n1))
	w.expect(p, "Ready=True/Observing")
	for _, cond := range p.Status.Conditions {
		if cond.Type == "Ready" && cond.Message != "observing, not enforcing" {
			t.Errorf("message %q", cond.Message)
		}
	}
}

func TestPeerObjects(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("web", n1, "192.0.2.5", app("web"))
	w.start()
	workload := func(name, address string) *v1alpha1.ExternalWorkload {
		o := &v1alpha1.ExternalWorkload{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
			Spec:       v1alpha1.ExternalWorkloadSpec{Addresses: []v1alpha1.HostAddress{v1alpha1.HostAddress(address)}},
		}
		w.create(o)
		return o
	}
	good, stolen := workload("good", "192.0.2.6/32"), workload("stolen", "192.0.2.5/32")
	w.expect(good, "Accepted=True/Accepted", "Ready=True/Realized")
	w.expect(stolen, "Accepted=False/AddressConflict", "Ready=False/AddressConflict", "Stalled=True/AddressConflict")
	second := workload("second", "192.0.2.6/32")
	w.expect(second, "Accepted=False/AddressConflict")
	// A pod gets the address: the workload loses it, and gets it back.
	pod := w.pod("late", n1, "192.0.2.6", app("late"))
	w.expect(good, "Accepted=False/AddressConflict")
	w.delete(pod)
	w.expect(good, "Accepted=True/Accepted")
	w.delete(good)
	w.expect(second, "Accepted=True/Accepted")
	inServices := workload("service", "10.0.0.10/32")
	w.expect(inServices, "Accepted=False/AddressConflict")

	group := &v1alpha1.AddressGroup{
		ObjectMeta: metav1.ObjectMeta{Name: "office-" + w.suffix},
		Spec:       v1alpha1.AddressGroupSpec{CIDRs: []v1alpha1.CIDR{"198.51.100.0/24"}},
	}
	w.create(group)
	w.expect(group, "Accepted=True/Accepted", "Ready=True/Realized")
}

// TestLateNode: a node that is connected and does not answer is waited for,
// named after 30 s, and forgiven.
func TestLateNode(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.6.1", app("db"))
	clock := newClock()
	c := w.start(withClock(clock))
	p := w.isolate("db", "db")
	w.create(p)
	a := c.agent(n1)
	answer := make(chan struct{})
	a.Answer = func(*wire.Transfer) *wire.Refuse {
		<-answer
		return nil
	}
	stop := w.run(a)
	w.expect(p, "Programmed=False/Pending", "Reconciling=True/Pending")
	clock.forward(31 * time.Second)
	w.expect(p, "Programmed=False/NodeLate", "Ready=False/NodeLate", "Reconciling=True/NodeLate")
	close(answer)
	w.expect(p, "Ready=True/Realized", "Reconciling=")
	stop()
}

// TestCrowdedOut: endpoints that come after a policy may make it too large. It
// is refused by name as a whole, its subjects are cut off meanwhile, and it is in
// force again when there is room.
func TestCrowdedOut(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.7.1", app("db"))
	c := w.start(withLimits(compile.Options{CellsPerRuleset: 3}))
	p := w.isolate("db", "db", "a", "b", "c")
	w.create(p)
	a := c.agent(n1)
	w.run(a)
	w.expect(p, "Ready=True/Realized")
	var pods []*corev1.Pod
	for i, name := range []string{"a", "b", "c"} {
		pods = append(pods, w.pod(name, n1, fmt.Sprintf("10.1.7.1%d", i), app(name)))
	}
	w.expect(p, "Accepted=False/OverCapacity", "Ready=False/OverCapacity")
	for _, cond := range p.Status.Conditions {
		if cond.Type == "Accepted" && !strings.Contains(cond.Message, "its subjects are cut off in ingress") {
			t.Errorf("message %q", cond.Message)
		}
	}
	if got := rules(t, c.synced(a)); len(got) != 1 || !got["db/(over-capacity)"] {
		t.Errorf("neither cut off nor whole: %v", got)
	}
	// A newer spec that does not fit either changes nothing about that.
	digest, _ := c.Store.Digest(modelNode(n1))
	w.update(p, func() { p.Spec.Ingress[0].Name = "renamed" })
	w.expect(p, "Accepted=False/OverCapacity", "Ready=False/OverCapacity")
	if got, _ := c.Store.Digest(modelNode(n1)); got != digest {
		t.Error("a refused spec changes what is in force")
	}
	w.delete(pods[0])
	w.delete(pods[1])
	w.expect(p, "Accepted=True/Accepted", "Ready=True/Realized")
}

// TestUpstream: upstream's NetworkPolicy goes the same way, last accepted spec
// included.
func TestUpstream(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.8.1", app("db"))
	c := w.start()
	p := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "upstream"},
		Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: app("db")}},
	}
	w.create(p)
	a := c.agent(n1)
	w.run(a)
	poll.Until(w, "the policy on the node", func() error {
		if got := rules(t, c.synced(a)); !got["upstream/(isolated)"] {
			return fmt.Errorf("rules %v", got)
		}
		return w.records(1)
	})
	w.delete(p)
	poll.Until(w, "the policy being gone", func() error {
		if got := rules(t, c.synced(a)); len(got) > 0 {
			return fmt.Errorf("rules %v", got)
		}
		return w.records(0)
	})
}

// TestDeletedWhileDown: a policy that was deleted while no controller ran is
// not in force for the next one, record or not.
func TestDeletedWhileDown(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.9.1", app("db"))
	c := w.start()
	p := w.isolate("db", "db", "web")
	w.create(p)
	w.expect(p, "Accepted=True/Accepted")
	c.stop()
	w.delete(p)
	again := w.isolate("db", "db")
	w.create(again)
	c = w.start()
	a := c.agent(n1)
	w.run(a)
	w.expect(again, "Ready=True/Realized")
	if got := rules(t, c.synced(a)); len(got) != 1 || !got["db/(isolated)"] {
		t.Errorf("rules on the node: %v", got)
	}
	poll.Until(w, "the old record being dropped", func() error { return w.records(1) })
}
