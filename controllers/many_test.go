package controllers_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/snapshot/wire"
	"palisade.dev/palisade/test/poll"
)

// slow is a clock by which an hour is a second, so that no machine is too slow
// for what may be held back for a while.
type slow struct {
	*shifted
	start time.Time
}

func newSlowClock() *slow { return &slow{newClock(), time.Now()} }

func (c *slow) Now() time.Time                  { return c.start.Add(time.Since(c.start) / 3600) }
func (c *slow) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// TestManyPolicies: a policy that is acknowledged soon costs one write of its
// status, however many are applied at once. Writes are few in all, so each that
// says what the next one replaces holds everybody else's up.
func TestManyPolicies(t *testing.T) {
	const policies = 200
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.10.1", app("db"))
	c := w.start(func(o *controllers.Options) { o.Clock = newSlowClock() })
	a := c.agent(n1)
	var held atomic.Bool
	release := make(chan struct{})
	a.Answer = func(*wire.Transfer) *wire.Refuse {
		if held.Load() {
			<-release
		}
		return nil
	}
	w.run(a)
	first := w.isolate("first", "db")
	w.create(first)
	w.expect(first, "Ready=True/Realized")

	patient := poll.Pace{Every: 500 * time.Millisecond, For: 10 * time.Minute}
	// The node is slower than whoever applies them.
	statuses := w.watch()
	started := time.Now()
	held.Store(true)
	for i := range policies {
		w.create(w.isolate(fmt.Sprintf("p-%d", i), "db", fmt.Sprintf("web-%d", i)))
	}
	patient.Until(w, "all policies being compiled", func() error {
		compiled := 0
		for _, ref := range c.Engine.Policies() {
			if o, ok := c.Engine.Outcome(gather.Object{Policy: ref}); ok && o.Accepted && ref.Namespace == w.namespace {
				compiled++
			}
		}
		if compiled != policies+1 {
			return fmt.Errorf("%d of %d are", compiled, policies+1)
		}
		return nil
	})
	held.Store(false)
	close(release)
	patient.Until(w, "all policies being Ready", func() error {
		var list v1alpha1.NetworkPolicyList
		if err := w.client.List(context.Background(), &list, client.InNamespace(w.namespace)); err != nil {
			return err
		}
		ready := 0
		for _, p := range list.Items {
			if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) {
				ready++
			}
		}
		if ready != policies+1 {
			return fmt.Errorf("%d of %d are", ready, policies+1)
		}
		return nil
	})
	t.Logf("%d policies are Ready after %.1f s", policies, time.Since(started).Seconds())
	total := 0
	for name, n := range statuses() {
		if total += n; n > 2 {
			t.Errorf("%s: status written %d times", name, n)
		}
	}
	if total != policies {
		t.Errorf("%d writes for %d policies", total, policies)
	}
}

// watch counts updates of policies from now on. The function that it returns ends
// that and gives the counts by name.
func (w *world) watch() func() map[string]int {
	w.Helper()
	c, err := client.NewWithWatch(apiServer, client.Options{Scheme: w.client.Scheme()})
	if err != nil {
		w.Fatal(err)
	}
	stream, err := c.Watch(context.Background(), &v1alpha1.NetworkPolicyList{}, client.InNamespace(w.namespace))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(stream.Stop)
	counts, marker := map[string]int{}, w.isolate("marker", "nobody")
	last := marker.Name // to create an object writes what it is now into it
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range stream.ResultChan() {
			p, ok := e.Object.(*v1alpha1.NetworkPolicy)
			switch {
			case ok && p.Name == last:
				return
			case ok && e.Type == watch.Modified:
				counts[p.Name]++
			}
		}
	}()
	return func() map[string]int {
		w.Helper()
		w.create(marker)
		<-done
		stream.Stop()
		return counts
	}
}
