package status

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

const maxFailures = 10

// outcome is the status, reason and message of one condition.
type outcome struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

// Policy computes the status of a policy from the status before and the facts.
func Policy(before v1alpha1.PolicyStatus, f Facts) v1alpha1.PolicyStatus {
	after := *before.DeepCopy()
	settled := before.ObservedGeneration == f.Generation &&
		meta.IsStatusConditionTrue(before.Conditions, v1alpha1.ConditionProgrammed)

	after.ObservedGeneration = f.Generation
	if news(before.ObservedGeneration, before.Conditions, &f) {
		after.SnapshotGeneration = f.Snapshot
	}
	after.ExpiredExceptions = v1alpha1.Ended(f.Exceptions, f.Now)
	after.Endpoints = int32(f.Endpoints)
	after.Nodes, after.Failures = count(f.Nodes)

	accepted := acceptance(&f)
	programmed := programmed(&f, settled)
	set := setter{&after.Conditions, &f}
	set.condition(v1alpha1.ConditionAccepted, accepted)
	set.condition(v1alpha1.ConditionProgrammed, programmed)
	set.condition(v1alpha1.ConditionReady, ready(&f, accepted, settled))
	set.while(f.expired(), v1alpha1.ConditionExpired, v1alpha1.ReasonExpired,
		"not in force since "+f.ExpiresAt.UTC().Format(time.RFC3339))
	set.progress(accepted, programmed)
	return after
}

// Peer computes the status of an object that policies refer to.
func Peer(before v1alpha1.PeerStatus, f Facts) v1alpha1.PeerStatus {
	after := *before.DeepCopy()
	if news(before.ObservedGeneration, before.Conditions, &f) {
		after.SnapshotGeneration = f.Snapshot
	}
	after.ObservedGeneration = f.Generation
	accepted := acceptance(&f)
	published := accepted
	if f.Verdict.Accepted {
		published = outcome{metav1.ConditionTrue, v1alpha1.ReasonRealized, "part of what is published to nodes"}
	}
	set := setter{&after.Conditions, &f}
	set.condition(v1alpha1.ConditionAccepted, accepted)
	set.condition(v1alpha1.ConditionReady, published)
	set.progress(accepted, published)
	return after
}

// news reports whether the spec has been accepted since the status before.
func news(observed int64, conditions []metav1.Condition, f *Facts) bool {
	return f.Verdict.Accepted && (observed != f.Generation || !meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionAccepted))
}

func acceptance(f *Facts) outcome {
	v := f.Verdict
	switch {
	case v.Accepted && f.expired():
		return outcome{metav1.ConditionTrue, v1alpha1.ReasonExpired, "valid, and expired"}
	case v.Accepted:
		return outcome{metav1.ConditionTrue, v1alpha1.ReasonAccepted, "valid and compiled"}
	case v.Older:
		return outcome{metav1.ConditionFalse, v.Reason, v.Message + "; the last accepted spec stays in force"}
	}
	return outcome{metav1.ConditionFalse, v.Reason, v.Message}
}

// programmed judges all nodes that need the policy.
func programmed(f *Facts, settled bool) outcome {
	if !f.Verdict.Accepted {
		return outcome{metav1.ConditionFalse, v1alpha1.ReasonNotAccepted, "not accepted: see Accepted"}
	}
	return inForce(f, f.Nodes, settled, true)
}

// ready judges the nodes that are themselves Ready, and names the others.
func ready(f *Facts, accepted outcome, settled bool) outcome {
	if !f.Verdict.Accepted {
		return accepted
	}
	var up []Node
	var down []string
	for _, n := range f.Nodes {
		if n.Ready {
			up = append(up, n)
		} else {
			down = append(down, n.Name)
		}
	}
	out := inForce(f, up, settled, false)
	if len(down) > 0 {
		out.message += fmt.Sprintf("; not Ready and not waited for: %s", names(down))
	}
	return out
}

// inForce judges nodes. Those that are not Ready are only looked at where
// unready says so.
func inForce(f *Facts, nodes []Node, settled, unready bool) outcome {
	if f.expired() {
		return outcome{metav1.ConditionTrue, v1alpha1.ReasonExpired, "expired: not in force, as asked for"}
	}
	if f.Endpoints == 0 {
		return outcome{metav1.ConditionTrue, v1alpha1.ReasonNoSubjects, mode(f, "selects no endpoint at present")}
	}
	if f.External {
		return outcome{metav1.ConditionFalse, v1alpha1.ReasonNoEnforcer, "selects external workloads, and nobody reports from them"}
	}
	if len(f.Nodes) == 0 {
		return outcome{metav1.ConditionTrue, v1alpha1.ReasonNoSubjects, mode(f, "selects endpoints that no node hosts yet")}
	}
	if problem := worst(nodes, settled, unready); problem != nil {
		return *problem
	}
	if f.Audit {
		message := ""
		if by := how(nodes, "is observed"); by != "" {
			message = "enforced it would be: " + by
		}
		return outcome{metav1.ConditionTrue, v1alpha1.ReasonObserving, mode(f, message)}
	}
	message := "in force on " + nodeCount(len(nodes))
	if by := how(nodes, ""); by != "" {
		message += ": " + by
	}
	return outcome{metav1.ConditionTrue, v1alpha1.ReasonRealized, message}
}

// mode adds to a message that a policy in Audit does not enforce.
func mode(f *Facts, message string) string {
	const observing = "observing, not enforcing"
	switch {
	case !f.Audit:
		return message
	case message == "":
		return observing
	}
	return observing + "; " + message
}

// worst is what keeps the policy from being in force on nodes, the gravest
// first; nil if nothing does.
func worst(nodes []Node, settled, unready bool) *outcome {
	var failed, late, unreachable, lost, waiting []string
	var first *Node
	for i := range nodes {
		n := &nodes[i]
		switch {
		case !n.Ready && (n.Progress != Realized && unready):
			unreachable = append(unreachable, n.Name)
		case !n.Ready:
		case n.Progress == Failed:
			if first == nil {
				first = n
			}
			failed = append(failed, n.Name)
		case n.lost():
			lost = append(lost, n.Name)
		case n.Progress == Late:
			late = append(late, n.Name)
		case n.Progress == Waiting:
			waiting = append(waiting, n.Name)
		}
	}
	switch {
	case first != nil:
		return &outcome{metav1.ConditionFalse, first.Reason, fmt.Sprintf("%s: %s (%s in all: %s)", first.Name, first.Message, nodeCount(len(failed)), names(failed))}
	case len(late) > 0:
		return &outcome{metav1.ConditionFalse, v1alpha1.ReasonNodeLate, fmt.Sprintf("not acknowledged for %v: %s", Grace, names(late))}
	case len(lost) > 0:
		return &outcome{metav1.ConditionUnknown, v1alpha1.ReasonNodeUnreachable, "no agent is connected, so this is not confirmed: " + names(lost)}
	case len(unreachable) > 0 && !settled:
		return &outcome{metav1.ConditionFalse, v1alpha1.ReasonNodeUnreachable, "not Ready, and not acknowledged: " + names(unreachable)}
	case len(waiting) > 0 && !settled:
		return &outcome{metav1.ConditionFalse, v1alpha1.ReasonPending, fmt.Sprintf("waiting for %s: %s", nodeCount(len(waiting)), names(waiting))}
	}
	return nil
}

func nodeCount(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}

// names lists a few names.
func names(list []string) string {
	const few = 5
	if len(list) <= few {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:few], ", "), len(list)-few)
}

// count counts nodes, reachability first: of a node that cannot be reached
// nobody knows more than what it last said.
func count(nodes []Node) (c v1alpha1.NodeCounts, failures []v1alpha1.NodeFailure) {
	c.Desired = int32(len(nodes))
	for _, n := range nodes {
		switch {
		case !n.Ready || n.lost():
			c.Unreachable++
		case n.Progress == Realized:
			c.Realized++
		case n.Progress == Failed:
			c.Failed++
			if len(failures) < maxFailures {
				failures = append(failures, v1alpha1.NodeFailure{Node: n.Name, Reason: short(n.Reason + ": " + n.Message)})
			}
		}
	}
	return c, failures
}

// short cuts what an agent wrote to what the schema takes.
func short(s string) string {
	const most = 1024
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// setter writes conditions; the time of one changes with its status only.
type setter struct {
	list *[]metav1.Condition
	f    *Facts
}

func (s setter) condition(kind string, o outcome) {
	meta.SetStatusCondition(s.list, metav1.Condition{
		Type: kind, Status: o.status, Reason: o.reason, Message: short(o.message),
		ObservedGeneration: s.f.Generation, LastTransitionTime: metav1.NewTime(s.f.Now),
	})
}

func (s setter) while(holds bool, kind, reason, message string) {
	if !holds {
		meta.RemoveStatusCondition(s.list, kind)
		return
	}
	s.condition(kind, outcome{metav1.ConditionTrue, reason, message})
}

// progress tells kstatus whether waiting is of use.
func (s setter) progress(accepted, programmed outcome) {
	reason, message := programmed.reason, programmed.message
	if accepted.status != metav1.ConditionTrue {
		reason, message = accepted.reason, accepted.message
	}
	open := programmed.status != metav1.ConditionTrue || accepted.status != metav1.ConditionTrue
	s.while(open && stalls[reason], v1alpha1.ConditionStalled, reason, message)
	s.while(open && reconciles[reason], v1alpha1.ConditionReconciling, reason, message)
}

// stalls are the reasons that only somebody's action ends.
var stalls = map[string]bool{
	v1alpha1.ReasonInvalid: true, v1alpha1.ReasonUnsupported: true, v1alpha1.ReasonOverCapacity: true,
	v1alpha1.ReasonAddressConflict: true, v1alpha1.ReasonNodeRefused: true, v1alpha1.ReasonKernelUnsupported: true,
	v1alpha1.ReasonBackendCannotPrevent: true,
	v1alpha1.ReasonSysctlOff:            true, v1alpha1.ReasonDatapathBypassed: true, v1alpha1.ReasonNoEnforcer: true,
}

// reconciles are the reasons that pass by themselves.
var reconciles = map[string]bool{v1alpha1.ReasonPending: true, v1alpha1.ReasonNodeLate: true}
