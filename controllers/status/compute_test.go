package status

import (
	"fmt"
	"strings"
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var accepted = Verdict{Accepted: true}

func fresh() v1alpha1.PolicyStatus { return v1alpha1.PolicyStatus{ObservedGeneration: -1} }

func node(name string, p Progress) Node { return Node{Name: name, Ready: true, Progress: p} }

func facts(nodes ...Node) Facts {
	return Facts{Now: now, Generation: 3, Verdict: accepted, Endpoints: 4, Snapshot: 812, Nodes: nodes}
}

// line renders conditions as TYPE=STATUS/REASON, in alphabetical order of type
// as tables below write them.
func line(list []metav1.Condition) string {
	var out []string
	for _, kind := range []string{"Accepted", "Programmed", "Ready", "Expired", "Reconciling", "Stalled"} {
		if c := meta.FindStatusCondition(list, kind); c != nil {
			out = append(out, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
		}
	}
	return strings.Join(out, " ")
}

// forTools is what tools that wait, such as Flux and kpt, make of an object.
func forTools(t *testing.T, o client.Object) kstatus.Status {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	result, err := kstatus.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

func TestConditions(t *testing.T) {
	down := Node{Name: "down", Progress: Waiting}
	downRealized := Node{Name: "down", Progress: Realized}
	lost := Node{Name: "lost", Ready: true, Progress: Realized, Away: Grace + time.Second}
	away := Node{Name: "away", Ready: true, Progress: Realized, Away: Grace}
	failed := Node{Name: "bad", Ready: true, Progress: Failed, Reason: v1alpha1.ReasonDatapathBypassed, Message: "macvlan"}
	with := func(f Facts, change func(*Facts)) Facts { change(&f); return f }
	ok := "Accepted=True/Accepted Programmed=True/Realized Ready=True/Realized"
	tests := map[string]struct {
		facts Facts
		want  string
		tools kstatus.Status // what tools that wait make of it
	}{
		"realized":                    {facts(node("a", Realized), node("b", Realized)), ok, kstatus.CurrentStatus},
		"waiting":                     {facts(node("a", Realized), node("b", Waiting)), "Accepted=True/Accepted Programmed=False/Pending Ready=False/Pending Reconciling=True/Pending", kstatus.InProgressStatus},
		"late":                        {facts(node("a", Realized), node("b", Late)), "Accepted=True/Accepted Programmed=False/NodeLate Ready=False/NodeLate Reconciling=True/NodeLate", kstatus.InProgressStatus},
		"failed":                      {facts(node("a", Realized), failed), "Accepted=True/Accepted Programmed=False/DatapathBypassed Ready=False/DatapathBypassed Stalled=True/DatapathBypassed", kstatus.FailedStatus},
		"worst first":                 {facts(node("a", Waiting), node("b", Late), failed), "Accepted=True/Accepted Programmed=False/DatapathBypassed Ready=False/DatapathBypassed Stalled=True/DatapathBypassed", kstatus.FailedStatus},
		"not Ready":                   {facts(node("a", Realized), down), "Accepted=True/Accepted Programmed=False/NodeUnreachable Ready=True/Realized", kstatus.CurrentStatus},
		"not Ready, but acknowledged": {facts(node("a", Realized), downRealized), ok, kstatus.CurrentStatus},
		"agent gone for a moment":     {facts(node("a", Realized), away), ok, kstatus.CurrentStatus},
		"agent gone":                  {facts(node("a", Realized), lost), "Accepted=True/Accepted Programmed=Unknown/NodeUnreachable Ready=Unknown/NodeUnreachable", kstatus.InProgressStatus},
		"no subjects":                 {with(facts(), func(f *Facts) { f.Endpoints = 0 }), "Accepted=True/Accepted Programmed=True/NoSubjects Ready=True/NoSubjects", kstatus.CurrentStatus},
		"subjects without a node":     {facts(), "Accepted=True/Accepted Programmed=True/NoSubjects Ready=True/NoSubjects", kstatus.CurrentStatus},
		"external workloads":          {with(facts(), func(f *Facts) { f.External = true }), "Accepted=True/Accepted Programmed=False/NoEnforcer Ready=False/NoEnforcer Stalled=True/NoEnforcer", kstatus.FailedStatus},
		"audit":                       {with(facts(node("a", Realized)), func(f *Facts) { f.Audit = true }), "Accepted=True/Accepted Programmed=True/Observing Ready=True/Observing", kstatus.CurrentStatus},
		"audit, waiting":              {with(facts(node("a", Waiting)), func(f *Facts) { f.Audit = true }), "Accepted=True/Accepted Programmed=False/Pending Ready=False/Pending Reconciling=True/Pending", kstatus.InProgressStatus},
		"not yet expired":             {with(facts(node("a", Realized)), func(f *Facts) { f.ExpiresAt = now.Add(time.Second) }), ok, kstatus.CurrentStatus},
		"expired":                     {with(facts(node("a", Waiting)), func(f *Facts) { f.ExpiresAt = now }), "Accepted=True/Expired Programmed=True/Expired Ready=True/Expired Expired=True/Expired", kstatus.CurrentStatus},
		"invalid": {
			with(facts(node("a", Realized)), func(f *Facts) { f.Verdict = Verdict{Reason: v1alpha1.ReasonInvalid, Message: "spec.x"} }),
			"Accepted=False/Invalid Programmed=False/NotAccepted Ready=False/Invalid Stalled=True/Invalid", kstatus.FailedStatus,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Policy(fresh(), test.facts)
			if line(got.Conditions) != test.want {
				t.Errorf("got  %s\nwant %s", line(got.Conditions), test.want)
			}
			for _, c := range got.Conditions {
				if c.ObservedGeneration != 3 || c.Message == "" || c.LastTransitionTime.IsZero() {
					t.Errorf("condition %+v", c)
				}
			}
			if got.ObservedGeneration != 3 {
				t.Errorf("observed %d", got.ObservedGeneration)
			}
			policy := &v1alpha1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "db", Generation: 3}, Status: got}
			if tools := forTools(t, policy); tools != test.tools {
				t.Errorf("tools see %s, want %s", tools, test.tools)
			}
			if policy.Generation++; forTools(t, policy) != kstatus.InProgressStatus {
				t.Errorf("before the next spec is looked at tools see %s", forTools(t, policy))
			}
			if again := Policy(got, test.facts); !cmp.Equal(again, got) {
				t.Errorf("computing again changes it: %s", cmp.Diff(got, again))
			}
		})
	}
}

// TestSettledStaysSettled: once programmed, a policy does not flap because a pod
// moves to a node that has yet to acknowledge, until that node is late.
func TestSettledStaysSettled(t *testing.T) {
	first := Policy(fresh(), facts(node("a", Realized)))
	moved := Policy(first, facts(node("a", Realized), node("b", Waiting)))
	if !meta.IsStatusConditionTrue(moved.Conditions, "Ready") || moved.Nodes.Realized != 1 || moved.Nodes.Desired != 2 {
		t.Errorf("a pod moved: %s, %+v", line(moved.Conditions), moved.Nodes)
	}
	late := Policy(moved, facts(node("a", Realized), node("b", Late)))
	if !meta.IsStatusConditionFalse(late.Conditions, "Ready") {
		t.Errorf("late: %s", line(late.Conditions))
	}
	f := facts(node("a", Waiting))
	f.Generation++
	if changed := Policy(moved, f); !meta.IsStatusConditionFalse(changed.Conditions, "Programmed") {
		t.Errorf("another spec: %s", line(changed.Conditions))
	}
}

func TestSnapshotGenerationIsTheFirst(t *testing.T) {
	s := Policy(fresh(), facts(node("a", Realized)))
	f := facts(node("a", Realized))
	f.Snapshot = 900
	if again := Policy(s, f); again.SnapshotGeneration != 812 {
		t.Errorf("same spec, later leader: %d", again.SnapshotGeneration)
	}
	f.Generation = 4
	f.Verdict = Verdict{Reason: v1alpha1.ReasonOverCapacity, Message: "too many rows", Older: true}
	refused := Policy(s, f)
	if refused.SnapshotGeneration != 812 || refused.ObservedGeneration != 4 {
		t.Errorf("refused spec: %d, observed %d", refused.SnapshotGeneration, refused.ObservedGeneration)
	}
	c := meta.FindStatusCondition(refused.Conditions, "Accepted")
	if !strings.Contains(c.Message, "the last accepted spec stays in force") {
		t.Errorf("message %q", c.Message)
	}
	f.Verdict = accepted
	if fits := Policy(refused, f); fits.SnapshotGeneration != 900 {
		t.Errorf("accepted later: %d", fits.SnapshotGeneration)
	}
}

func TestCountsAndFailures(t *testing.T) {
	nodes := []Node{node("r", Realized), {Name: "d"}, node("w", Waiting), {Name: "l", Ready: true, Progress: Realized, Away: time.Hour}}
	for i := range 12 {
		nodes = append(nodes, Node{Name: fmt.Sprintf("f%02d", i), Ready: true, Progress: Failed, Reason: v1alpha1.ReasonNodeRefused, Message: strings.Repeat("é", 1000)})
	}
	got := Policy(fresh(), facts(nodes...))
	if want := (v1alpha1.NodeCounts{Desired: 16, Realized: 1, Failed: 12, Unreachable: 2}); got.Nodes != want {
		t.Errorf("got %+v, want %+v", got.Nodes, want)
	}
	if len(got.Failures) != maxFailures || got.Failures[0].Node != "f00" || len(got.Failures[0].Reason) > 1024 {
		t.Errorf("%d failures, first of %s with %d bytes", len(got.Failures), got.Failures[0].Node, len(got.Failures[0].Reason))
	}
}

func TestUnreachableIsNamed(t *testing.T) {
	got := Policy(fresh(), facts(node("a", Realized), Node{Name: "broken-node"}))
	c := meta.FindStatusCondition(got.Conditions, "Ready")
	if c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "broken-node") {
		t.Errorf("Ready is %s: %s", c.Status, c.Message)
	}
}

func TestAuditSaysSo(t *testing.T) {
	f := facts(node("a", Realized))
	f.Audit = true
	if c := meta.FindStatusCondition(Policy(fresh(), f).Conditions, "Ready"); c.Message != "observing, not enforcing" {
		t.Errorf("message %q", c.Message)
	}
}

func TestPeer(t *testing.T) {
	tools := func(s v1alpha1.PeerStatus) kstatus.Status {
		return forTools(t, &v1alpha1.AddressGroup{ObjectMeta: metav1.ObjectMeta{Name: "office", Generation: 2}, Status: s})
	}
	f := Facts{Now: now, Generation: 2, Verdict: accepted, Snapshot: 5}
	got := Peer(v1alpha1.PeerStatus{ObservedGeneration: -1}, f)
	if tools(got) != kstatus.CurrentStatus {
		t.Errorf("tools see %s", tools(got))
	}
	if line(got.Conditions) != "Accepted=True/Accepted Ready=True/Realized" || got.SnapshotGeneration != 5 || got.ObservedGeneration != 2 {
		t.Errorf("%s %+v", line(got.Conditions), got)
	}
	f.Verdict = Verdict{Reason: v1alpha1.ReasonAddressConflict, Message: "10.0.0.1 is pod shop/web"}
	if got = Peer(got, f); line(got.Conditions) != "Accepted=False/AddressConflict Ready=False/AddressConflict Stalled=True/AddressConflict" || tools(got) != kstatus.FailedStatus {
		t.Error(line(got.Conditions), tools(got))
	}
	f.Verdict = accepted
	if got = Peer(got, f); line(got.Conditions) != "Accepted=True/Accepted Ready=True/Realized" || tools(got) != kstatus.CurrentStatus {
		t.Error(line(got.Conditions), tools(got))
	}
}

func TestTransitions(t *testing.T) {
	before := Policy(fresh(), facts(node("a", Waiting)))
	after := Policy(before, facts(node("a", Realized)))
	var events []string
	for _, tr := range Transitions(before.Conditions, after.Conditions) {
		if tr.worthAnEvent() {
			events = append(events, tr.Type+" "+tr.Reason)
		}
	}
	if got := strings.Join(events, ", "); got != "Ready Realized" {
		t.Errorf("events: %s", got)
	}
	if list := Transitions(after.Conditions, after.Conditions); len(list) > 0 {
		t.Errorf("no change gives %v", list)
	}
}
