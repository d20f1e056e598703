package gather

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
	"palisade.dev/palisade/snapshot"
)

// onePolicy is a cache that holds one policy.
type onePolicy struct {
	cache.Cache
	policy *networkingv1.NetworkPolicy
}

func (c *onePolicy) Get(_ context.Context, k client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if p, ok := into.(*networkingv1.NetworkPolicy); ok && k == client.ObjectKeyFromObject(c.policy) {
		c.policy.DeepCopyInto(p)
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{}, k.Name)
}

// slowWrites is a client whose writes say that they began, and wait.
type slowWrites struct {
	client.Client
	began, goOn chan struct{}
}

func (c *slowWrites) Create(context.Context, client.Object, ...client.CreateOption) error {
	c.began <- struct{}{}
	<-c.goOn
	return nil
}

func names(t *testing.T, set *snapshot.Set) (out []string) {
	t.Helper()
	rows, err := set.Rows()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if r, ok := row.(snapshot.RuleRow); ok && r.Policy != "" {
			out = append(out, r.Policy+"/"+r.Rule)
		}
	}
	return out
}

// TestEstimateWaitsForTheBatch: while a candidate's record is written, an
// estimate of the same policy neither takes it back nor loses what changed.
func TestEstimateWaitsForTheBatch(t *testing.T) {
	ctx := t.Context()
	e := newEngine()
	writes := &slowWrites{began: make(chan struct{}), goOn: make(chan struct{})}
	e.Kept = &accepted.Store{Client: writes, Namespace: "palisade-system"}
	e.Cache = &onePolicy{policy: upstream(1, "10.0.0.0/8")}
	for _, n := range []model.Endpoint{
		{ID: model.EndpointID{Kind: model.EndpointNode, Name: "n1"}, UID: "n"},
		{ID: pod("db"), UID: "u", Node: "n1", Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.1")}},
	} {
		e.compiler.PutEndpoint(n)
	}
	ref := model.PolicyRef{Kind: model.KindUpstream, Namespace: "shop", Name: "db"}
	e.queue.mark(keyOf(ref))
	done := make(chan struct{})
	go func() { defer close(done); e.batch(ctx) }()
	<-writes.began

	variant, err := translate.Upstream(upstream(2, "192.0.2.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(ctx)
	answer := make(chan error)
	go func() {
		_, err := e.Estimate(short, variant)
		answer <- err
	}()
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("an estimate within a batch: %v", err)
	}
	patient := make(chan error)
	go func() {
		cost, err := e.Estimate(ctx, variant)
		if cost.Budget <= 0 && err == nil {
			t.Errorf("cost %+v", cost)
		}
		patient <- err
	}()
	close(writes.goOn)
	<-done
	if err := <-patient; err != nil {
		t.Error(err)
	}
	want := e.compiler.Digest("n1")
	if got, ok := e.Store.Digest("n1"); !ok || got != want {
		t.Errorf("published %s, compiled %s", got, want)
	}
	if got := names(t, e.compiler.Node("n1")); !slices.Contains(got, "db/ingress-0") {
		t.Errorf("rules in force: %v", got)
	}
	// Another one leaves everything as it is, and nothing to publish.
	cost, err := e.Estimate(ctx, variant)
	if err != nil || cost.Refused != "" {
		t.Errorf("%+v, %v", cost, err)
	}
	if e.compiler.Digest("n1") != want || e.owed != nil {
		t.Errorf("an estimate changed what is in force, or owes %+v", e.owed)
	}
}

// TestEstimateLosesNothing: what was fed to the compiler before an estimate is
// published by the next batch, though the estimate's own commit took it up.
func TestEstimateLosesNothing(t *testing.T) {
	e := newEngine()
	e.Cache = &onePolicy{policy: upstream(1, "10.0.0.0/8")}
	variant, err := translate.Upstream(upstream(2, "192.0.2.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	e.compiler.PutEndpoint(model.Endpoint{ID: model.EndpointID{Kind: model.EndpointNode, Name: "n1"}, UID: "n"})
	if _, err := e.Estimate(t.Context(), variant); err != nil {
		t.Fatal(err)
	}
	if e.owed == nil {
		t.Fatal("nothing is owed")
	}
	e.turn <- struct{}{}
	e.publish(e.pending())
	<-e.turn
	if got, ok := e.Store.Digest("n1"); !ok || got != e.compiler.Digest("n1") {
		t.Errorf("published %s, compiled %s", got, e.compiler.Digest("n1"))
	}
}

func TestEstimateBeforeTheStart(t *testing.T) {
	e := newEngine()
	e.ready.Store(false)
	if _, err := e.Estimate(t.Context(), model.Policy{}); !errors.Is(err, ErrNotCompiled) {
		t.Errorf("%v", err)
	}
}
