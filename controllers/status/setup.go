package status

import (
	"context"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/policy/model"
)

// Writer runs the reconcilers and wakes them. Everything in it runs on the
// leader only.
type Writer struct {
	shared   *Shared
	clock    clock.WithTicker
	policies map[model.PolicyKind]*Policies
	wakers   map[string]*waker

	acknowledged chan struct{} // a node came further
	troubled     chan struct{} // a node came, went, refused or complained
}

// The pace at which policies are looked at because of nodes.
const (
	unsettledEvery = 100 * time.Millisecond
	allEvery       = time.Second
	sweepEvery     = 15 * time.Second
)

// The wakers' names; those of policies are the short names of their kinds.
const (
	wakeExternal = "pew"
	wakeGroup    = "pag"
)

// Setup adds the reconcilers to a manager.
func Setup(mgr ctrl.Manager, shared *Shared, c clock.WithTicker) (*Writer, error) {
	w := &Writer{
		shared: shared, clock: c, policies: map[model.PolicyKind]*Policies{}, wakers: map[string]*waker{},
		acknowledged: make(chan struct{}, 1), troubled: make(chan struct{}, 1),
	}
	for _, kind := range []model.PolicyKind{model.KindNetworkPolicy, model.KindRuntime, model.KindClusterwide} {
		r := &Policies{Shared: shared, Kind: kind}
		w.policies[kind] = r
		object, _ := emptyPolicy(kind)
		if err := w.add(mgr, kind.String(), object, r); err != nil {
			return nil, err
		}
	}
	for name, other := range map[string]struct {
		object client.Object
		r      reconcile.Reconciler
	}{
		wakeExternal:                {&v1alpha1.ExternalWorkload{}, &ExternalWorkloads{shared}},
		wakeGroup:                   {&v1alpha1.AddressGroup{}, &AddressGroups{shared}},
		model.KindUpstream.String(): {&networkingv1.NetworkPolicy{}, &Upstream{Shared: shared}},
	} {
		if err := w.add(mgr, name, other.object, other.r); err != nil {
			return nil, err
		}
	}
	return w, mgr.Add(w)
}

func (w *Writer) add(mgr ctrl.Manager, name string, object client.Object, r reconcile.Reconciler) error {
	w.wakers[name] = &waker{}
	// Two managers in one process, as in tests, are no mistake.
	skip := true
	return ctrl.NewControllerManagedBy(mgr).Named("status-" + name).For(object).
		WatchesRawSource(source.Func(w.wakers[name].start)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, SkipNameValidation: &skip}).
		Complete(r)
}

// Changed tells of objects about which something was decided.
func (w *Writer) Changed(objects []gather.Object) {
	for _, o := range objects {
		switch {
		case o.Policy != model.PolicyRef{}:
			w.wakers[o.Policy.Kind.String()].wake(o.Policy.Namespace, o.Policy.Name)
		case o.Group != "":
			w.wakers[wakeGroup].wake("", o.Group)
		default:
			w.wakers[wakeExternal].wake(o.Endpoint.Namespace, o.Endpoint.Name)
		}
	}
}

// NodeChanged tells that a node came further, or, with trouble, that it came,
// went, refused or complained.
func (w *Writer) NodeChanged(trouble bool) {
	c := w.acknowledged
	if trouble {
		c = w.troubled
	}
	select {
	case c <- struct{}{}:
	default:
	}
}

// NeedLeaderElection tells the manager that only the leader writes.
func (w *Writer) NeedLeaderElection() bool { return true }

// Start wakes reconcilers as nodes change, until the context ends.
func (w *Writer) Start(ctx context.Context) error {
	ticker := w.clock.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		all := true
		pause := allEvery
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			pause = 0
		case <-w.troubled:
		case <-w.acknowledged:
			all, pause = false, unsettledEvery
		}
		w.sweep(all)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// sweep wakes all policies, or those that wait for nodes.
func (w *Writer) sweep(all bool) {
	w.shared.Nodes.lookAgain()
	for _, ref := range w.shared.Decisions.Policies() {
		if r := w.policies[ref.Kind]; r != nil && (all || !r.recall(ref).settled) {
			w.wakers[ref.Kind.String()].wake(ref.Namespace, ref.Name)
		}
	}
}

// waker adds requests to a controller's queue from outside.
type waker struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

func (w *waker) start(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = q
	return nil
}

// wake does nothing before the controller runs: it looks at everything then.
func (w *waker) wake(namespace, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue != nil {
		w.queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
}
