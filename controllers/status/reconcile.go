package status

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// Decisions is what the engine decided; package gather's Engine has them.
type Decisions interface {
	Outcome(gather.Object) (gather.Outcome, bool)
	Subjects(model.PolicyRef) compile.Subjects
	Policies() []model.PolicyRef
}

// WritesPerSecond bounds what all reconcilers write together.
const WritesPerSecond = 20

// Limiter makes writers wait for their turn.
type Limiter interface {
	Wait(context.Context) error
}

// NewLimiter limits to WritesPerSecond.
func NewLimiter() *rate.Limiter { return rate.NewLimiter(WritesPerSecond, 1) }

// Shared is what the reconcilers of all kinds have in common.
type Shared struct {
	Client    client.Client
	Decisions Decisions
	Nodes     *Nodes
	Recorder  events.EventRecorder
	Clock     clock.PassiveClock
	Limit     Limiter // one turn for every write
}

// Policies reconciles the status of one kind of policy of ours.
type Policies struct {
	*Shared
	Kind model.PolicyKind

	mu     sync.Mutex
	memory map[model.PolicyRef]memory
}

// Reconcile computes one policy's status and writes it if it says something new.
func (r *Policies) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ref := model.PolicyRef{Kind: r.Kind, Namespace: req.Namespace, Name: req.Name}
	look, err := r.look(ctx, ref)
	if err != nil || look == nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if look.due && look.wait == 0 {
		if err := r.Limit.Wait(ctx); err != nil {
			return ctrl.Result{}, err
		}
		// Where many statuses change that was a long wait: what is written is what
		// is true now.
		if look, err = r.look(ctx, ref); err != nil || look == nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
	}
	if look.due && look.wait == 0 {
		if err := r.write(ctx, look.object, look.before, look.old.Conditions, look.status.Conditions); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		r.noteWrite(ref, look)
	}
	r.announceEnd(ref, look.object, &look.facts)
	return ctrl.Result{RequeueAfter: again(look.wait, look.facts)}, nil
}

// look is what a policy's status is and should be.
type look struct {
	object, before client.Object // as it should be and as it is
	status         *v1alpha1.PolicyStatus
	old            v1alpha1.PolicyStatus
	facts          Facts
	wait           time.Duration // before writing
	due            bool
}

// look compares a policy's status with what it should be; nil if there is
// nothing to compare at present, and somebody will say when there is.
func (r *Policies) look(ctx context.Context, ref model.PolicyRef) (*look, error) {
	object, status := emptyPolicy(r.Kind)
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, object); err != nil {
		r.forget(ref)
		return nil, err
	}
	outcome, ok := r.Decisions.Outcome(gather.Object{Policy: ref})
	if !ok || outcome.UID != object.GetUID() || outcome.Generation != object.GetGeneration() {
		return nil, nil // the engine will say when it has looked
	}
	if r.recall(ref).replaced == object.GetResourceVersion() {
		return nil, nil // the cache will say when it has what was written last
	}
	facts, err := r.facts(ctx, ref, outcome)
	if err != nil {
		return nil, err
	}
	l := &look{object: object, before: object.DeepCopyObject().(client.Object), status: status, old: *status.DeepCopy(), facts: facts}
	*status = Policy(l.old, facts)
	r.note(ref, func(m *memory) {
		l.wait, l.due = m.due(l.old, *status, facts.waiting(), facts.Now)
		m.settled = settled(status)
	})
	return l, nil
}

// emptyPolicy returns an object of a kind and its status.
func emptyPolicy(kind model.PolicyKind) (client.Object, *v1alpha1.PolicyStatus) {
	switch kind {
	case model.KindClusterwide:
		o := &v1alpha1.ClusterwidePolicy{}
		return o, &o.Status
	case model.KindRuntime:
		o := &v1alpha1.RuntimePolicy{}
		return o, &o.Status
	}
	o := &v1alpha1.NetworkPolicy{}
	return o, &o.Status
}

func (r *Policies) facts(ctx context.Context, ref model.PolicyRef, o gather.Outcome) (Facts, error) {
	views, err := r.Nodes.Views(ctx)
	if err != nil {
		return Facts{}, fmt.Errorf("nodes: %w", err)
	}
	subjects := r.Decisions.Subjects(ref)
	f := Facts{
		Now: r.Clock.Now(), Generation: o.Generation,
		Verdict: Verdict{Accepted: o.Accepted, Reason: o.Reason, Message: o.Message, Older: o.Older},
		Audit:   o.Audit, External: o.External, ExpiresAt: o.ExpiresAt,
		Endpoints: subjects.Endpoints, Snapshot: int64(o.Counter),
		Exceptions: o.Exceptions,
	}
	for _, name := range subjects.Nodes {
		view := views[name] // a node that is gone is not Ready
		f.Nodes = append(f.Nodes, view.For(string(name), o.Counter, Demand{o.Network, o.Sections, o.Asks, o.Prevent}))
	}
	return f, nil
}

// again is when time alone changes a status, or asks for a word: a delayed count, an
// expiry, the day before it.
func again(wait time.Duration, f Facts) time.Duration {
	next := func(at time.Time) {
		if until := at.Sub(f.Now); until > 0 && (wait == 0 || until < wait) {
			wait = until
		}
	}
	if !f.ExpiresAt.IsZero() {
		next(f.ExpiresAt)
		next(f.ExpiresAt.Add(-Notice))
	}
	for _, at := range f.Exceptions {
		next(at)
	}
	return wait
}

// write writes a status and tells of its transitions. The caller has waited for
// Limit.
func (s *Shared) write(ctx context.Context, object, before client.Object, was, is []metav1.Condition) error {
	if err := s.Client.Status().Patch(ctx, object, client.MergeFrom(before)); err != nil {
		return err
	}
	writes.Inc()
	for _, t := range Transitions(was, is) {
		if t.worthAnEvent() {
			s.tell(object, t)
		}
	}
	return nil
}

func (s *Shared) tell(object client.Object, t Transition) {
	kind := corev1.EventTypeNormal
	if t.Status == metav1.ConditionFalse {
		kind = corev1.EventTypeWarning
	}
	s.Recorder.Eventf(object, nil, kind, t.Reason, t.Type, "%s is %s: %s", t.Type, t.Status, t.Message)
}

// settled: only time and trouble change such a status.
func settled(s *v1alpha1.PolicyStatus) bool {
	for _, c := range s.Conditions {
		if c.Status != metav1.ConditionTrue {
			return false
		}
	}
	return s.Nodes.Realized == s.Nodes.Desired
}

func (r *Policies) recall(ref model.PolicyRef) memory {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.memory[ref]
}

func (r *Policies) note(ref model.PolicyRef, change func(*memory)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.memory == nil {
		r.memory = map[model.PolicyRef]memory{}
	}
	m := r.memory[ref]
	change(&m)
	r.memory[ref] = m
}

func (r *Policies) noteWrite(ref model.PolicyRef, l *look) {
	r.note(ref, func(m *memory) {
		m.written, m.held = l.facts.Now, time.Time{}
		if is := l.object.GetResourceVersion(); is != l.before.GetResourceVersion() {
			m.replaced = l.before.GetResourceVersion()
		}
	})
}

func (r *Policies) forget(ref model.PolicyRef) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.memory, ref)
}
