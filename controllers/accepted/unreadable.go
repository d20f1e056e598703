package accepted

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// Unreadable is a ControllerRevision that holds an accepted spec which this
// version cannot read: another version wrote it, or it is damaged. A field that
// is not known counts as much as garbage: nobody knows what it would have closed.
type Unreadable struct {
	// Name is the ControllerRevision's, Policy what all revisions of one policy
	// have in common.
	Name   string
	Policy string
	why    error

	revision *appsv1.ControllerRevision
}

// NewUnreadable makes it of a revision that Read refuses.
func NewUnreadable(revision *appsv1.ControllerRevision, why error) *Unreadable {
	return &Unreadable{Name: revision.Name, Policy: revision.Labels[PolicyLabel], why: why, revision: revision}
}

// PolicyKey is the Policy of all unreadable revisions of a policy.
func PolicyKey(ref model.PolicyRef) string { return hash(ref.String()) }

// Of returns the record of a policy that is known from elsewhere. Its Policy is
// an outline of as much as can be read. If the revision is not this object's,
// the record is nobody's: it has no UID.
func (u *Unreadable) Of(ref model.PolicyRef, uid types.UID) *Record {
	r := &Record{Ref: ref, Generation: u.revision.Revision, At: u.revision.CreationTimestamp.Time, Name: u.Name, Unreadable: u.why}
	if u.Name == nameOf(ref, uid, r.Generation) {
		r.UID = uid
	}
	names := metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name, UID: r.UID, Generation: r.Generation}
	r.Policy = partsOf(ref.Kind, names, u.revision.Data.Raw)
	return r
}

// partsOf reads what says whom a policy is about and when, each part by itself;
// what cannot be read is left out.
func partsOf(kind model.PolicyKind, names metav1.ObjectMeta, data []byte) client.Object {
	var object struct{ Spec map[string]json.RawMessage }
	if err := json.Unmarshal(data, &object); err != nil {
		object.Spec = nil
	}
	parts := object.Spec
	switch kind {
	case model.KindNetworkPolicy:
		o := &v1alpha1.NetworkPolicy{ObjectMeta: names}
		part(parts, "mode", &o.Spec.Mode)
		part(parts, "subject", &o.Spec.Subject)
		part(parts, "expiresAt", &o.Spec.ExpiresAt)
		return o
	case model.KindClusterwide:
		o := &v1alpha1.ClusterwidePolicy{ObjectMeta: names}
		part(parts, "mode", &o.Spec.Mode)
		part(parts, "subject", &o.Spec.Subject)
		part(parts, "expiresAt", &o.Spec.ExpiresAt)
		if len(parts["runtime"]) > 0 {
			o.Spec.Runtime = &v1alpha1.ClusterwideRuntime{} // something about processes
		}
		if !part(parts, "tier", &o.Spec.Tier) || !part(parts, "priority", &o.Spec.Priority) {
			o.Spec.Tier, o.Spec.Priority = v1alpha1.TierAdmin, 0
		}
		return o
	case model.KindRuntime:
		o := &v1alpha1.RuntimePolicy{ObjectMeta: names}
		part(parts, "mode", &o.Spec.Mode)
		part(parts, "subject", &o.Spec.Subject)
		part(parts, "expiresAt", &o.Spec.ExpiresAt)
		return o
	case model.KindUpstream:
		o := &networkingv1.NetworkPolicy{ObjectMeta: names}
		if !part(parts, "podSelector", &o.Spec.PodSelector) {
			o.Spec.PodSelector = metav1.LabelSelector{} // every pod of the namespace
		}
		return o
	}
	o := ObjectOf(kind)
	o.SetNamespace(names.Namespace)
	o.SetName(names.Name)
	o.SetUID(names.UID)
	o.SetGeneration(names.Generation)
	return o
}

// part reads one part whole or not at all.
func part[T any](parts map[string]json.RawMessage, name string, into *T) bool {
	var value T
	if len(parts[name]) == 0 || strict(parts[name], &value) != nil {
		return false
	}
	*into = value
	return true
}

// strict decodes one value that has no field which its type does not have.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows the object: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

// Outline is a policy without its rules: whom it is about, in which tier, and
// until when. What no version could compile is replaced by what closes most.
func Outline(policy client.Object) client.Object {
	switch p := policy.(type) {
	case *v1alpha1.NetworkPolicy:
		o := &v1alpha1.NetworkPolicy{ObjectMeta: p.ObjectMeta, Spec: v1alpha1.NetworkPolicySpec{
			Mode: modeOf(p.Spec.Mode), Subject: p.Spec.Subject, Isolate: v1alpha1.IsolateBoth, ExpiresAt: p.Spec.ExpiresAt,
		}}
		return o
	case *v1alpha1.ClusterwidePolicy:
		o := &v1alpha1.ClusterwidePolicy{ObjectMeta: p.ObjectMeta, Spec: v1alpha1.ClusterwidePolicySpec{
			Mode: modeOf(p.Spec.Mode), Subject: p.Spec.Subject, ExpiresAt: p.Spec.ExpiresAt, Tier: p.Spec.Tier, Priority: p.Spec.Priority,
		}}
		if p.Spec.Runtime != nil {
			o.Spec.Runtime = &v1alpha1.ClusterwideRuntime{}
		}
		if o.Spec.Tier != v1alpha1.TierBaseline || o.Spec.Priority < 0 || o.Spec.Priority > 1000 {
			o.Spec.Tier = v1alpha1.TierAdmin
			o.Spec.Priority = min(max(o.Spec.Priority, 0), 1000)
		}
		return o
	case *v1alpha1.RuntimePolicy:
		return &v1alpha1.RuntimePolicy{ObjectMeta: p.ObjectMeta, Spec: v1alpha1.RuntimePolicySpec{
			Mode: modeOf(p.Spec.Mode), Subject: p.Spec.Subject, ExpiresAt: p.Spec.ExpiresAt,
		}}
	case *networkingv1.NetworkPolicy:
		return &networkingv1.NetworkPolicy{ObjectMeta: p.ObjectMeta, Spec: networkingv1.NetworkPolicySpec{PodSelector: p.Spec.PodSelector}}
	}
	return policy
}

// Widen makes an outline one about everybody whom a policy of its kind, name and
// namespace could be about.
func Widen(outline client.Object) client.Object {
	switch o := outline.DeepCopyObject().(type) {
	case *v1alpha1.NetworkPolicy:
		o.Spec.Subject = v1alpha1.NetworkPolicySubject{Pods: &v1alpha1.LabelSelector{}}
		return o
	case *v1alpha1.ClusterwidePolicy:
		o.Spec.Subject = v1alpha1.ClusterwidePolicySubject{Namespaces: &v1alpha1.LabelSelector{}}
		return o
	case *v1alpha1.RuntimePolicy:
		o.Spec.Subject = v1alpha1.RuntimePolicySubject{}
		return o
	case *networkingv1.NetworkPolicy:
		o.Spec.PodSelector = metav1.LabelSelector{}
		return o
	}
	return outline
}

func modeOf(m v1alpha1.Mode) v1alpha1.Mode {
	if m == v1alpha1.ModeAudit {
		return m
	}
	return v1alpha1.ModeEnforce
}
