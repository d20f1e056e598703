package accepted

import (
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
)

// RuleUnreadable is the rule of what stands in for an accepted spec that this
// version cannot read or compile.
const RuleUnreadable = "(unreadable)"

// Model is what is compiled of a record with the status of the live object. Where
// this version cannot compile the spec, lost says why, and the model stands in for
// it.
func (r *Record) Model(live client.Object) (m model.Policy, lost error) {
	lost = r.Unreadable
	if lost == nil {
		m, lost = ModelOf(withStatus(r.Policy, live))
	}
	if lost != nil {
		m = standIn(r, live)
	}
	return m, lost
}

// standIn is what is compiled instead of an accepted spec that cannot be. It
// denies its subjects everything and logs that: whatever the spec closed stays
// closed. Where not even the subjects can be read, it is about everybody whom
// the policy could have been about.
func standIn(r *Record, live client.Object) model.Policy {
	m := model.Policy{Ref: r.Ref, Tier: model.TierNamespace, Subject: model.Subject{Kind: model.EndpointPod, Namespaces: model.NamespaceMatch{Name: r.Ref.Namespace}}}
	outline := Outline(r.Policy)
	for _, o := range []client.Object{outline, Widen(outline)} {
		if read, err := ModelOf(withStatus(o, live)); err == nil {
			m = read
			break
		}
	}
	deny := model.Rule{
		Name: RuleUnreadable, Action: model.ActionDeny, Log: true,
		Peers: []model.Peer{{Kind: model.PeerAny}}, Ports: []model.PortMatch{{Proto: model.ProtoAny}},
	}
	m.IsolateIngress, m.IsolateEgress = false, false
	if r.Ref.Kind != model.KindRuntime {
		m.Ingress, m.Egress = []model.Rule{deny}, []model.Rule{deny}
	}
	if aboutProcesses(outline) {
		m.Runtime = denyAll(m.Runtime)
	}
	return m
}

// aboutProcesses reports whether a policy has runtime sections.
func aboutProcesses(o client.Object) bool {
	switch o := o.(type) {
	case *v1alpha1.RuntimePolicy:
		return true
	case *v1alpha1.ClusterwidePolicy:
		return o.Spec.Runtime != nil
	}
	return false
}

// denyAll is the runtime part of a stand-in: its containers can do nothing anew,
// and what they do already goes on.
func denyAll(was *model.Runtime) *model.Runtime {
	out := &model.Runtime{}
	if was != nil {
		out.Containers = was.Containers
	}
	for s := range out.Sections {
		out.Sections[s].Rules = []model.RuntimeRule{{Name: RuleUnreadable, Action: model.RuntimeDeny}}
	}
	return out
}

// ModelOf translates a policy object.
func ModelOf(o client.Object) (model.Policy, error) {
	switch o := o.(type) {
	case *v1alpha1.NetworkPolicy:
		return translate.NetworkPolicy(o)
	case *v1alpha1.ClusterwidePolicy:
		return translate.ClusterwidePolicy(o)
	case *v1alpha1.RuntimePolicy:
		return translate.RuntimePolicy(o)
	default:
		return translate.Upstream(o.(*networkingv1.NetworkPolicy))
	}
}

// withStatus returns the accepted object with the status of the live one:
// whether a policy has expired stands there.
func withStatus(object, live client.Object) client.Object {
	switch o := object.(type) {
	case *v1alpha1.NetworkPolicy:
		out := *o
		out.Status = live.(*v1alpha1.NetworkPolicy).Status
		return &out
	case *v1alpha1.ClusterwidePolicy:
		out := *o
		out.Status = live.(*v1alpha1.ClusterwidePolicy).Status
		return &out
	case *v1alpha1.RuntimePolicy:
		out := *o
		out.Status = live.(*v1alpha1.RuntimePolicy).Status
		return &out
	}
	return object
}

// ExpiresAt is when a policy object ends, the zero time for never.
func ExpiresAt(o client.Object) time.Time {
	var at *metav1.Time
	switch o := o.(type) {
	case *v1alpha1.NetworkPolicy:
		at = o.Spec.ExpiresAt
	case *v1alpha1.ClusterwidePolicy:
		at = o.Spec.ExpiresAt
	case *v1alpha1.RuntimePolicy:
		at = o.Spec.ExpiresAt
	}
	if at == nil {
		return time.Time{}
	}
	return at.Time
}
