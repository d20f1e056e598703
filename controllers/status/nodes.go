package status

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// View is what is known of one node, whatever the policy.
type View struct {
	Ready     bool // the Node's condition
	Away      time.Duration
	Connected time.Duration // since when it is, 0 while it is not
	Known     bool          // Counter means something
	Counter   publish.Counter
	Behind    time.Duration // how long it has lacked what was published
	Refusal   *publish.Refusal
	Broken    *publish.Condition // why it does not enforce, whatever it acknowledged
	Backends  Backends           // of runtime sections
}

// For says how far the node has come with a policy whose accepted spec was first
// published at a counter.
func (v *View) For(name string, since publish.Counter, demand Demand) Node {
	n := Node{Name: name, Ready: v.Ready, Away: v.Away}
	weakest, section, known := v.Backends.weakest(demand.Sections)
	n.Backend = weakest
	n.Sections = v.Backends.by(demand.Sections)
	n.Unjudged = v.Backends.unjudged(&demand, ^uint32(0))
	unseen := v.Backends.unseen(&demand)
	// Which of the executables in from are scripts nobody knows: that is told, and fails
	// nothing.
	unprevented := v.Backends.unjudged(&demand, ^snapshot.AskFromScript)
	// What stops packets says nothing about processes, once the node says what does.
	broken := v.Broken
	if !demand.Network && known {
		broken = nil
	}
	holds := v.Known && v.Counter >= since
	late := v.Behind > Grace || !v.Known && v.Connected > Grace
	switch {
	case broken != nil && v.starting():
	case broken != nil:
		n.Progress, n.Reason, n.Message = Failed, reasonOf(broken.Reason), broken.Message
	case len(demand.Sections) > 0 && v.Known && !known:
		n.Progress, n.Reason, n.Message = Failed, v1alpha1.ReasonKernelUnsupported, "the agent enforces no runtime rules: run this version's"
	case known && weakest == None:
		n.Progress, n.Reason, n.Message = Failed, v1alpha1.ReasonKernelUnsupported, section.String()+" cannot be enforced: "+v.Backends[section].Message
	case known && demand.Prevent && !weakest.Prevents():
		n.Progress, n.Reason = Failed, v1alpha1.ReasonBackendCannotPrevent
		n.Message = fmt.Sprintf("%s can only be answered by %s%s: %s", section, weakest, concerning(section, &demand), v.Backends[section].Message)
	case known && demand.Prevent && unprevented != "":
		n.Progress, n.Reason, n.Message = Failed, v1alpha1.ReasonBackendCannotPrevent, unprevented
	case known && unseen != "":
		n.Progress, n.Reason, n.Message = Failed, v1alpha1.ReasonKernelUnsupported, unseen
	case v.Refusal != nil && v.Refusal.Counter >= since && (!holds || late):
		n.Progress, n.Reason, n.Message = Failed, v1alpha1.ReasonNodeRefused, v.Refusal.Reason+": "+v.Refusal.Message
	case late:
		n.Progress = Late
	case holds:
		n.Progress = Realized
	}
	return n
}

// starting: an agent that has just connected and complains of nothing that will
// last may simply have nothing to enforce yet.
func (v *View) starting() bool {
	return v.Connected <= Grace && reasonOf(v.Broken.Reason) == v1alpha1.ReasonNodeRefused
}

// reasonOf maps what an agent says to the reasons of the API.
func reasonOf(reason string) string {
	switch reason {
	case v1alpha1.ReasonKernelUnsupported, v1alpha1.ReasonSysctlOff, v1alpha1.ReasonDatapathBypassed:
		return reason
	}
	return v1alpha1.ReasonNodeRefused
}

// Nodes gathers views of all nodes. It looks at most every freshness, because
// thousands of policies ask about the same nodes at the same time.
type Nodes struct {
	Client  client.Reader
	Store   *publish.Store
	Tracker *publish.Tracker
	Clock   clock.PassiveClock

	mu    sync.Mutex
	at    time.Time
	views map[model.NodeName]View
}

const freshness = 50 * time.Millisecond

// Views returns the views; they must not be changed.
func (n *Nodes) Views(ctx context.Context) (map[model.NodeName]View, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.Clock.Now()
	if n.views != nil && now.Sub(n.at) < freshness && !now.Before(n.at) {
		return n.views, nil
	}
	var list corev1.NodeList
	if err := n.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	views := make(map[model.NodeName]View, len(list.Items))
	for i := range list.Items {
		name := model.NodeName(list.Items[i].Name)
		views[name] = n.view(now, &list.Items[i], n.Tracker.Node(name))
	}
	for name := range n.Tracker.Nodes() {
		if _, ok := views[name]; !ok {
			n.Tracker.Forget(name)
		}
	}
	n.views, n.at = views, now
	return views, nil
}

// lookAgain makes the next views new ones. Without it an acknowledgement that
// comes just after a look might be seen only much later.
func (n *Nodes) lookAgain() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.views = nil
}

func (n *Nodes) view(now time.Time, node *corev1.Node, t publish.Node) View {
	v := View{Ready: nodeReady(node), Known: t.Known, Refusal: t.Refusal}
	if t.Connected {
		v.Connected = max(1, now.Sub(t.Since))
	} else {
		v.Away = max(1, now.Sub(t.Since))
	}
	if t.Known {
		counter, behind := n.Store.Progress(model.NodeName(node.Name), t.Held)
		if v.Counter = counter; !behind.IsZero() {
			v.Behind = now.Sub(behind)
		}
	}
	for _, c := range t.Conditions {
		if c.Type == wire.ConditionEnforcing && !c.Holds {
			v.Broken = &c
		}
		v.Backends.note(c)
	}
	return v
}

func nodeReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
