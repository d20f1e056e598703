package status

import (
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// decided is an engine that has decided this.
type decided map[gather.Object]gather.Outcome

func (d decided) Outcome(o gather.Object) (gather.Outcome, bool) { out, ok := d[o]; return out, ok }
func (d decided) Subjects(model.PolicyRef) compile.Subjects      { return compile.Subjects{} }
func (d decided) Policies() []model.PolicyRef                    { return nil }

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestUpstreamTellsTransitions: a policy without a status is told of by events, once for
// each thing that there is to say, however often it is looked at.
func TestUpstreamTellsTransitions(t *testing.T) {
	name := types.NamespacedName{Namespace: "shop", Name: "db"}
	ref := gather.Object{Policy: model.PolicyRef{Kind: model.KindUpstream, Namespace: name.Namespace, Name: name.Name}}
	refused := gather.Outcome{UID: "1", Generation: 1, Reason: v1alpha1.ReasonOverCapacity, Message: "too many"}
	with := func(o gather.Outcome, change func(*gather.Outcome)) *gather.Outcome { change(&o); return &o }
	const tooMany = "Warning OverCapacity Accepted is False: too many"
	steps := []struct {
		name    string
		outcome *gather.Outcome // nil: the policy is deleted
		want    string
	}{
		{"refused", &refused, tooMany},
		{"for a reason in other words", with(refused, func(o *gather.Outcome) { o.Message = "still too many" }), ""},
		{"another spec, refused as well", with(refused, func(o *gather.Outcome) { o.Generation = 2 }), tooMany},
		{"for another reason", with(refused, func(o *gather.Outcome) { o.Generation, o.Reason, o.Message = 2, v1alpha1.ReasonInvalid, "odd" }), "Warning Invalid Accepted is False: odd"},
		{"accepted", with(refused, func(o *gather.Outcome) { o.Generation, o.Accepted = 3, true }), "Normal Accepted Accepted is True: valid and compiled"},
		{"accepted, another spec", with(refused, func(o *gather.Outcome) { o.Generation, o.Accepted = 4, true }), ""},
		{"refused, an older spec holds", with(refused, func(o *gather.Outcome) { o.Generation, o.Older = 5, true }), tooMany + "; the last accepted spec stays in force"},
		{"gone", nil, ""},
		{"made anew, accepted", with(refused, func(o *gather.Outcome) { o.UID, o.Accepted = "2", true }), ""},
		{"refused", with(refused, func(o *gather.Outcome) { o.UID = "2" }), tooMany},
		{"replaced between two looks, accepted", with(refused, func(o *gather.Outcome) { o.UID, o.Accepted = "3", true }), ""},
	}
	recorder := events.NewFakeRecorder(100)
	r := &Upstream{Shared: &Shared{Recorder: recorder}}
	for i, step := range steps {
		objects := fake.NewClientBuilder().WithScheme(scheme(t))
		if step.outcome != nil {
			objects.WithObjects(&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
				Namespace: name.Namespace, Name: name.Name, UID: step.outcome.UID, Generation: step.outcome.Generation,
			}})
		}
		r.Client = objects.Build()
		look := func(what string, o gather.Outcome, known bool) string {
			r.Decisions = decided{}
			if known {
				r.Decisions = decided{ref: o}
			}
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
				t.Fatalf("%d %s, %s: %v", i, step.name, what, err)
			}
			var out []string
			for len(recorder.Events) > 0 {
				out = append(out, <-recorder.Events)
			}
			return strings.Join(out, "\n")
		}
		if step.outcome == nil {
			if got := look("", gather.Outcome{}, false); got != "" {
				t.Errorf("%d %s: told %q", i, step.name, got)
			}
			continue
		}
		if got := look("not decided", gather.Outcome{}, false); got != "" {
			t.Errorf("%d %s, not decided yet: told %q", i, step.name, got)
		}
		if got := look("an earlier spec decided", *with(*step.outcome, func(o *gather.Outcome) { o.Generation-- }), true); got != "" {
			t.Errorf("%d %s, an earlier spec decided: told %q", i, step.name, got)
		}
		if got := look("decided", *step.outcome, true); got != step.want {
			t.Errorf("%d %s: told %q, want %q", i, step.name, got, step.want)
		}
		for range 3 {
			if got := look("again", *step.outcome, true); got != "" {
				t.Errorf("%d %s, looked at again: told %q", i, step.name, got)
			}
		}
	}
}
