package status

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/model"
)

// turns counts who waits for a turn. Meanwhile, as waits may be long, something happens.
type turns struct {
	taken     int
	meanwhile func()
}

func (w *turns) Wait(context.Context) error {
	w.taken++
	if w.meanwhile != nil {
		w.meanwhile()
	}
	return nil
}

// TestWritesWaitTheirTurn: whatever writes a status has waited for a turn of the limiter
// that all share, writes what is true after that wait, and takes none for nothing.
func TestWritesWaitTheirTurn(t *testing.T) {
	meta := metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "1", Generation: 1}
	wide := metav1.ObjectMeta{Name: "db", UID: "1", Generation: 1}
	policy := func(kind model.PolicyKind, namespace string) gather.Object {
		return gather.Object{Policy: model.PolicyRef{Kind: kind, Namespace: namespace, Name: "db"}}
	}
	tests := map[string]struct {
		object client.Object
		name   gather.Object
		make   func(*Shared) reconcile.Reconciler
	}{
		"NetworkPolicy": {&v1alpha1.NetworkPolicy{ObjectMeta: meta}, policy(model.KindNetworkPolicy, "shop"),
			func(s *Shared) reconcile.Reconciler { return &Policies{Shared: s, Kind: model.KindNetworkPolicy} }},
		"RuntimePolicy": {&v1alpha1.RuntimePolicy{ObjectMeta: meta}, policy(model.KindRuntime, "shop"),
			func(s *Shared) reconcile.Reconciler { return &Policies{Shared: s, Kind: model.KindRuntime} }},
		"ClusterwidePolicy": {&v1alpha1.ClusterwidePolicy{ObjectMeta: wide}, policy(model.KindClusterwide, ""),
			func(s *Shared) reconcile.Reconciler { return &Policies{Shared: s, Kind: model.KindClusterwide} }},
		"ExternalWorkload": {&v1alpha1.ExternalWorkload{ObjectMeta: meta},
			gather.Object{Endpoint: model.EndpointID{Kind: model.EndpointExternal, Namespace: "shop", Name: "db"}},
			func(s *Shared) reconcile.Reconciler { return &ExternalWorkloads{s} }},
		"AddressGroup": {&v1alpha1.AddressGroup{ObjectMeta: wide}, gather.Object{Group: "db"},
			func(s *Shared) reconcile.Reconciler { return &AddressGroups{s} }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			limit, patches := &turns{}, 0
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(tc.object).WithStatusSubresource(tc.object).
				WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
					if patches++; patches > limit.taken {
						t.Errorf("write %d after %d turns", patches, limit.taken)
					}
					return c.SubResource(sub).Patch(ctx, o, p, opts...)
				}}).Build()
			now := clocktesting.NewFakePassiveClock(now)
			decisions := decided{}
			s := &Shared{Client: c, Decisions: decisions, Recorder: events.NewFakeRecorder(100), Clock: now, Limit: limit}
			s.Nodes = &Nodes{Client: c, Store: publish.NewStore(), Clock: now,
				Tracker: publish.NewTracker(now.Now, func(model.NodeName, bool) {})}
			r := tc.make(s)
			look := func(what string, writes, turns int) {
				t.Helper()
				patches, limit.taken = 0, 0
				if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(tc.object)}); err != nil {
					t.Fatal(err)
				}
				if patches != writes || limit.taken != turns {
					t.Errorf("%s: %d writes with %d turns, want %d with %d", what, patches, limit.taken, writes, turns)
				}
			}
			accept := func(yes bool) {
				decisions[tc.name] = gather.Outcome{UID: "1", Generation: 1, Accepted: yes, Reason: v1alpha1.ReasonOverCapacity, Message: "too many", Counter: 1}
			}
			look("nothing is decided", 0, 0)
			accept(true)
			look("something is said", 1, 1)
			look("nothing new", 0, 0)
			accept(false)
			look("something else", 1, 1)
			accept(true)
			limit.meanwhile = func() { accept(false) }
			look("what was to be written ceased to be true", 0, 1)
		})
	}
}

// TestLimiter: bursts are no way around the limit.
func TestLimiter(t *testing.T) {
	limit, turns := NewLimiter(), 0
	const seconds = 10
	for at := now; at.Before(now.Add(seconds * time.Second)); at = at.Add(time.Millisecond) {
		for limit.AllowN(at, 1) {
			turns++
		}
	}
	if most := seconds*WritesPerSecond + 1; turns > most || turns < most-2 {
		t.Errorf("%d turns in %d s, want %d a second", turns, seconds, WritesPerSecond)
	}
}
