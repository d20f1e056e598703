package accepted

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// The labels of our ControllerRevisions.
const (
	// Label marks them; its value is the kind of policy, as messages print it.
	Label = "palisade.dev/accepted"
	// PolicyLabel is equal for all revisions of one policy.
	PolicyLabel = "palisade.dev/policy"
)

// Record is an accepted spec.
type Record struct {
	Ref        model.PolicyRef
	UID        types.UID
	Generation int64
	// Policy is the object as it was accepted: names and spec, no status.
	Policy client.Object
	// At is when it was accepted, as the API server noted it.
	At time.Time
	// Name is the ControllerRevision's.
	Name string
	// Unreadable says why this version cannot read the spec; Policy is an outline
	// of it then.
	Unreadable error
}

// New makes the record of a policy that has been accepted now. Its kind must be
// one of the kinds of policy.
func New(policy client.Object) (*Record, error) {
	r := &Record{UID: policy.GetUID(), Generation: policy.GetGeneration()}
	names := metav1.ObjectMeta{
		Namespace: policy.GetNamespace(), Name: policy.GetName(), UID: policy.GetUID(), Generation: policy.GetGeneration(),
	}
	switch p := policy.(type) {
	case *v1alpha1.NetworkPolicy:
		r.Policy = &v1alpha1.NetworkPolicy{ObjectMeta: names, Spec: *p.Spec.DeepCopy()}
	case *v1alpha1.ClusterwidePolicy:
		r.Policy = &v1alpha1.ClusterwidePolicy{ObjectMeta: names, Spec: *p.Spec.DeepCopy()}
	case *v1alpha1.RuntimePolicy:
		r.Policy = &v1alpha1.RuntimePolicy{ObjectMeta: names, Spec: *p.Spec.DeepCopy()}
	case *networkingv1.NetworkPolicy:
		r.Policy = &networkingv1.NetworkPolicy{ObjectMeta: names, Spec: *p.Spec.DeepCopy()}
	default:
		return nil, fmt.Errorf("%T is no policy", policy)
	}
	r.Ref = RefOf(r.Policy)
	r.Name = nameOf(r.Ref, r.UID, r.Generation)
	return r, nil
}

// RefOf names a policy object.
func RefOf(o client.Object) model.PolicyRef {
	ref := model.PolicyRef{Namespace: o.GetNamespace(), Name: o.GetName()}
	switch o.(type) {
	case *v1alpha1.NetworkPolicy:
		ref.Kind = model.KindNetworkPolicy
	case *v1alpha1.ClusterwidePolicy:
		ref.Kind = model.KindClusterwide
	case *v1alpha1.RuntimePolicy:
		ref.Kind = model.KindRuntime
	case *networkingv1.NetworkPolicy:
		ref.Kind = model.KindUpstream
	}
	return ref
}

// ObjectOf returns an empty object of a policy's kind.
func ObjectOf(kind model.PolicyKind) client.Object {
	switch kind {
	case model.KindClusterwide:
		return &v1alpha1.ClusterwidePolicy{}
	case model.KindNetworkPolicy:
		return &v1alpha1.NetworkPolicy{}
	case model.KindRuntime:
		return &v1alpha1.RuntimePolicy{}
	default:
		return &networkingv1.NetworkPolicy{}
	}
}

func nameOf(ref model.PolicyRef, uid types.UID, generation int64) string {
	return fmt.Sprintf("%s-%s-%d", ref.Kind, hash(ref.String(), string(uid)), generation)
}

func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil)[:10])
}

// revision is the record as a ControllerRevision.
func (r *Record) revision(namespace string) (*appsv1.ControllerRevision, error) {
	data, err := json.Marshal(r.Policy)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Ref, err)
	}
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: r.Name,
			Labels: map[string]string{Label: r.Ref.Kind.String(), PolicyLabel: PolicyKey(r.Ref)},
		},
		Revision: r.Generation,
		Data:     runtime.RawExtension{Raw: data},
	}, nil
}

// Read returns the record that a ControllerRevision holds. A field that this
// version does not know is an error.
func Read(revision *appsv1.ControllerRevision) (*Record, error) {
	for _, kind := range []model.PolicyKind{model.KindClusterwide, model.KindNetworkPolicy, model.KindRuntime, model.KindUpstream} {
		if kind.String() != revision.Labels[Label] {
			continue
		}
		policy := ObjectOf(kind)
		if err := strict(revision.Data.Raw, policy); err != nil {
			return nil, fmt.Errorf("controllerrevision %s: %w", revision.Name, err)
		}
		r, err := New(policy)
		if err != nil {
			return nil, fmt.Errorf("controllerrevision %s: %w", revision.Name, err)
		}
		if r.Name != revision.Name {
			return nil, fmt.Errorf("controllerrevision %s holds what %s should", revision.Name, r.Name)
		}
		r.At = revision.CreationTimestamp.Time
		return r, nil
	}
	return nil, fmt.Errorf("controllerrevision %s: label %s is %q", revision.Name, Label, revision.Labels[Label])
}

// Newer reports whether r holds a later spec than other, which may be nil.
func (r *Record) Newer(other *Record) bool {
	switch {
	case other == nil:
		return true
	case r.UID == other.UID:
		return r.Generation > other.Generation
	}
	return r.At.After(other.At) || r.At.Equal(other.At) && r.UID > other.UID
}

// Choice says what to compile of a policy.
type Choice struct {
	// InForce is what has been accepted; nil: nothing of this policy.
	InForce *Record
	// Try says that the object as it is now waits to be accepted.
	Try bool
}

// Choose decides between the object as it is now, nil if there is none, and the
// newest record of it, nil if there is none. Only the leader accepts. A record
// of a deleted object with the same name counts for nothing.
func Choose(now client.Object, newest *Record, leader bool) Choice {
	if now == nil {
		return Choice{}
	}
	if newest != nil && newest.UID != now.GetUID() {
		newest = nil
	}
	return Choice{InForce: newest, Try: leader && (newest == nil || newest.Generation < now.GetGeneration())}
}
