package webhooks

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/webhooks/rules"
)

func admit(t *testing.T, operation admissionv1.Operation, object, old any) admission.Request {
	t.Helper()
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: operation}}
	req.Kind = metav1.GroupVersionKind{Kind: v1alpha1.KindNetworkPolicy}
	if _, ok := object.(*v1alpha1.ClusterwidePolicy); ok {
		req.Kind.Kind = v1alpha1.KindClusterwidePolicy
	}
	req.Object = runtime.RawExtension{Raw: raw(t, object)}
	if old != nil {
		req.OldObject = runtime.RawExtension{Raw: raw(t, old)}
	}
	return req
}

func TestHandle(t *testing.T) {
	everybody := denying("p", v1alpha1.LabelSelector{})
	labelledOnly := everybody.DeepCopy()
	labelledOnly.Labels = map[string]string{"owner": "a"}
	changed := everybody.DeepCopy()
	changed.Spec.Priority = 20
	some := denying("p", labelled("team", "a"))
	upsideDown := isolating("shop", "p")
	upsideDown.Spec.Ingress = []v1alpha1.NetworkPolicyIngressRule{{Name: "a", Action: v1alpha1.ActionAccept,
		From: []v1alpha1.Peer{{IPBlock: &v1alpha1.IPBlock{CIDR: "10.0.0.0/33"}}}}}

	broken := &fakeCluster{err: errors.New("the cache is not synced")}
	tests := map[string]struct {
		req     admission.Request
		cluster *fakeCluster
		code    int32  // 0: allowed
		message string // part of the reason
		warns   bool
	}{
		"a new one that is refused":             {req: admit(t, admissionv1.Create, everybody, nil), code: http.StatusForbidden, message: "rule 17"},
		"a new one with a warning":              {req: admit(t, admissionv1.Create, isolating("shop", "p"), nil), warns: true},
		"an update of other things":             {req: admit(t, admissionv1.Update, labelledOnly, everybody)},
		"an update that keeps what was wrong":   {req: admit(t, admissionv1.Update, changed, everybody)},
		"an update that makes something wrong":  {req: admit(t, admissionv1.Update, everybody, some), code: http.StatusForbidden, message: "rule 17"},
		"a delete":                              {req: admit(t, admissionv1.Delete, everybody, everybody), cluster: broken},
		"a fact that cannot be had":             {req: admit(t, admissionv1.Create, some, nil), cluster: broken, code: http.StatusInternalServerError, message: "the cache is not synced"},
		"no fact is needed for another's label": {req: admit(t, admissionv1.Update, labelledOnly, everybody), cluster: broken},
		"what cannot be translated":             {req: admit(t, admissionv1.Create, upsideDown, nil), code: http.StatusForbidden, message: "spec.ingress[0].from[0].ipBlock.cidr"},
		"an object that is no JSON": {
			req: admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte("{")},
			}},
			code: http.StatusBadRequest, message: "object: ",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := tc.cluster
			if cluster == nil {
				cluster = &fakeCluster{}
			}
			h := &Handler{Engine: newEngine(t, rules.Modules(), cluster)}
			resp := h.Handle(t.Context(), tc.req)
			if resp.Allowed != (tc.code == 0) {
				t.Fatalf("allowed = %v: %+v", resp.Allowed, resp.Result)
			}
			if tc.code != 0 && (resp.Result.Code != tc.code || !strings.Contains(resp.Result.Message, tc.message)) {
				t.Errorf("result %d %q, want %d with %q", resp.Result.Code, resp.Result.Message, tc.code, tc.message)
			}
			if (len(resp.Warnings) > 0) != tc.warns {
				t.Errorf("warnings %q", resp.Warnings)
			}
		})
	}
}

func TestRefusalNamesTheFields(t *testing.T) {
	h := &Handler{Engine: newEngine(t, rules.Modules(), &fakeCluster{estimate: Estimate{Entries: 2, Budget: 1}})}
	resp := h.Handle(t.Context(), admit(t, admissionv1.Create, denying("p", v1alpha1.LabelSelector{}), nil))
	if resp.Result.Details == nil || len(resp.Result.Details.Causes) != 2 {
		t.Fatalf("details %+v, want a cause for rule 17 and one for rule 30", resp.Result.Details)
	}
	if have := resp.Result.Details.Causes[0].Field; have != "spec.subject.namespaces" {
		t.Errorf("field of the first cause is %q", have)
	}
}

func TestWarningsAreShortAndFew(t *testing.T) {
	var many []Violation
	for i := range 20 {
		many = append(many, Violation{Rule: Rule{Number: 1, Title: "t"}, Field: fmt.Sprintf("spec.f%d", i), Why: strings.Repeat("é", 300), Fix: "x"})
	}
	have := warnings(many)
	if len(have) != maxWarnings || have[maxWarnings-1] != "palisade: 13 more warnings" {
		t.Errorf("%d warnings, the last is %q", len(have), have[len(have)-1])
	}
	for _, w := range have {
		if n := utf8.RuneCountInString(w); n >= 256 || !utf8.ValidString(w) {
			t.Errorf("a warning of %d characters: %q", n, w)
		}
	}
}
