package gather

import (
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/model"
)

// newEngine is an engine that leads and has compiled what there is: nothing.
func newEngine() *Engine {
	e := &Engine{
		Store: publish.NewStore(), OnChange: func([]Object) {}, Clock: clock.RealClock{}, Log: logr.Discard(),
	}
	e.init()
	e.leading.Store(true)
	e.ready.Store(true)
	return e
}

// upstream isolates all pods of namespace shop, except from a block.
func upstream(generation int64, cidr string) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db", UID: "uid-1", Generation: generation},
		Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: cidr}}},
		}}},
	}
}

// record is a spec as it was accepted, by whatever version.
func record(t *testing.T, p *networkingv1.NetworkPolicy) *accepted.Record {
	t.Helper()
	r, err := accepted.New(p)
	if err != nil {
		t.Fatal(err)
	}
	r.At = time.Unix(1000+p.Generation, 0)
	return r
}

// TestRecordThatDoesNotCompile: it is refused by name, something stands in for
// it, and it is not forgotten before something newer is accepted.
func TestRecordThatDoesNotCompile(t *testing.T) {
	const broken = "10.0.0.0/99"
	ref := model.PolicyRef{Kind: model.KindUpstream, Namespace: "shop", Name: "db"}
	keys := map[key]bool{keyOf(ref): true}
	e := newEngine()
	older, newest := record(t, upstream(1, "10.0.0.0/8")), record(t, upstream(2, broken))
	e.noteRecord(older, false)
	e.noteRecord(newest, false)

	if c := e.lookAtPolicy(ref, upstream(2, broken)); c != nil {
		t.Fatalf("a spec that was accepted is tried again: %+v", c)
	}
	out, ok := e.Outcome(Object{Policy: ref})
	if !ok || out.Accepted || out.Reason != v1alpha1.ReasonUnsupported || out.Generation != 2 || !strings.Contains(out.Message, broken) || out.Older {
		t.Errorf("outcome %+v, %t", out, ok)
	}
	if p := e.policies[ref]; p.inForce != newest || !denies(&p.model) {
		t.Errorf("in force is %+v", p.model)
	}
	if got := e.superfluous(keys); len(got) != 1 || got[0] != older {
		t.Errorf("records to drop: %v", got)
	}

	// A newer spec that is refused changes nothing.
	e.lookAtPolicy(ref, upstream(3, broken))
	if out, _ := e.Outcome(Object{Policy: ref}); out.Accepted || out.Older || out.Generation != 3 || !strings.Contains(out.Message, "cut off") {
		t.Errorf("outcome %+v", out)
	}
	if p := e.policies[ref]; !denies(&p.model) {
		t.Errorf("in force is %+v", p.model)
	}

	c := e.lookAtPolicy(ref, upstream(4, "10.0.0.0/8"))
	if c == nil {
		t.Fatal("a newer spec is not tried")
	}
	if got := e.superfluous(keys); len(got) != 1 || got[0] != older {
		t.Errorf("records to drop before the newer one is kept: %v", got)
	}
	c.record.At = time.Unix(2000, 0)
	e.settle([]*candidate{c}, nil, newMerged())
	if got := e.superfluous(keys); len(got) != 2 {
		t.Errorf("records to drop afterwards: %v", got)
	}
	if out, _ := e.Outcome(Object{Policy: ref}); !out.Accepted || out.Generation != 4 {
		t.Errorf("outcome %+v", out)
	}
	// Of a deleted policy nothing stays.
	e.lookAtPolicy(ref, nil)
	if got := e.superfluous(keys); len(got) != 3 {
		t.Errorf("records to drop of a deleted policy: %v", got)
	}
}

// denies: everything in both directions.
func denies(m *model.Policy) bool {
	for _, d := range []model.Direction{model.Ingress, model.Egress} {
		rules := m.Rules(d)
		if len(rules) != 1 || rules[0].Name != accepted.RuleUnreadable || rules[0].Action != model.ActionDeny ||
			rules[0].Peers[0].Kind != model.PeerAny || rules[0].Ports[0].Proto != model.ProtoAny {
			return false
		}
	}
	return true
}

// TestWhomNobodyEnforces: the outcome says of which subjects no agent judges anything.
func TestWhomNobodyEnforces(t *testing.T) {
	for kind, want := range map[model.EndpointKind]bool{
		model.EndpointPod: false, model.EndpointExternal: true, model.EndpointNode: false,
	} {
		p := policy{inForce: record(t, upstream(1, "10.0.0.0/8")), model: model.Policy{Subject: model.Subject{Kind: kind}}}
		p.outcome.describe(&p)
		if got := p.outcome.External; got != want {
			t.Errorf("subject of kind %v: external is %v, want %v", kind, got, want)
		}
	}
}
