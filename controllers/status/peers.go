package status

import (
	"context"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/policy/model"
)

// ExternalWorkloads reconciles the status of ExternalWorkload.
type ExternalWorkloads struct{ *Shared }

// Reconcile computes one workload's status and writes it if it says something new.
func (r *ExternalWorkloads) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o := &v1alpha1.ExternalWorkload{}
	id := model.EndpointID{Kind: model.EndpointExternal, Namespace: req.Namespace, Name: req.Name}
	return ctrl.Result{}, r.peer(ctx, req, o, &o.Status, gather.Object{Endpoint: id})
}

// AddressGroups reconciles the status of AddressGroup.
type AddressGroups struct{ *Shared }

// Reconcile computes one group's status and writes it if it says something new.
func (r *AddressGroups) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	o := &v1alpha1.AddressGroup{}
	return ctrl.Result{}, r.peer(ctx, req, o, &o.Status, gather.Object{Group: req.Name})
}

func (s *Shared) peer(ctx context.Context, req ctrl.Request, object client.Object, status *v1alpha1.PeerStatus, name gather.Object) error {
	// Twice, because the wait in between may be long.
	for waited := false; ; waited = true {
		if err := s.Client.Get(ctx, req.NamespacedName, object); err != nil {
			return client.IgnoreNotFound(err)
		}
		o, ok := s.Decisions.Outcome(name)
		if !ok || o.UID != object.GetUID() || o.Generation != object.GetGeneration() {
			return nil
		}
		before := object.DeepCopyObject().(client.Object)
		old := *status.DeepCopy()
		*status = Peer(old, Facts{
			Now: s.Clock.Now(), Generation: o.Generation, Snapshot: int64(o.Counter),
			Verdict: Verdict{Accepted: o.Accepted, Reason: o.Reason, Message: o.Message},
		})
		if equality.Semantic.DeepEqual(old, *status) {
			return nil
		}
		if waited {
			return client.IgnoreNotFound(s.write(ctx, object, before, old.Conditions, status.Conditions))
		}
		if err := s.Limit.Wait(ctx); err != nil {
			return err
		}
	}
}

// Upstream tells of upstream's NetworkPolicy objects that are not in force:
// their kind has no status. What it told is forgotten where the leader changes,
// and is told again then.
type Upstream struct {
	*Shared

	mu   sync.Mutex
	told map[types.NamespacedName]refusal
}

// refusal is what is told of a policy that is refused; zero: it is accepted, or
// nothing was told.
type refusal struct {
	uid        types.UID
	generation int64
	reason     string
	older      bool
}

// Reconcile records an event where a policy begins to be refused, is refused for
// something else, or is accepted again.
func (r *Upstream) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := &networkingv1.NetworkPolicy{}
	if err := r.Client.Get(ctx, req.NamespacedName, object); err != nil {
		if apierrors.IsNotFound(err) {
			r.swap(req.NamespacedName, refusal{})
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	ref := model.PolicyRef{Kind: model.KindUpstream, Namespace: req.Namespace, Name: req.Name}
	o, ok := r.Decisions.Outcome(gather.Object{Policy: ref})
	if !ok || o.UID != object.GetUID() || o.Generation != object.GetGeneration() {
		return ctrl.Result{}, nil
	}
	is := refusal{}
	if !o.Accepted {
		is = refusal{o.UID, o.Generation, o.Reason, o.Older}
	}
	was := r.swap(req.NamespacedName, is)
	if was != is && (!o.Accepted || was.uid == o.UID) {
		a := acceptance(&Facts{Verdict: Verdict{Accepted: o.Accepted, Reason: o.Reason, Message: o.Message, Older: o.Older}})
		r.tell(object, Transition{v1alpha1.ConditionAccepted, a.status, a.reason, a.message})
	}
	return ctrl.Result{}, nil
}

// swap notes what is told of a policy now, and returns what was told before.
func (r *Upstream) swap(name types.NamespacedName, is refusal) refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.told[name]
	if is == (refusal{}) {
		delete(r.told, name)
		return was
	}
	if r.told == nil {
		r.told = map[types.NamespacedName]refusal{}
	}
	r.told[name] = is
	return was
}
