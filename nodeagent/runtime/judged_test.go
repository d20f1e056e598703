package runtime

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

// node is what runs on a node: both halves of the datapath in a directory of their own.
type node struct {
	t       *testing.T
	dir     string
	r       *Runtime
	d       *datapath.Datapath
	counter uint64
	around  func(*rowtest.Builder) // whom rules may name as peers, if anybody
}

func newNode(t *testing.T, adjust ...func(*Config)) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	mount := t.TempDir()
	must(t, unix.Mount("bpf", mount, "bpf", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(mount, unix.MNT_DETACH)) })
	n := &node{t: t, dir: filepath.Join(mount, "palisade")}
	n.open(adjust...)
	t.Cleanup(func() {
		n.close()
		must(t, datapath.Remove(n.dir))
	})
	return n
}

func (n *node) open(adjust ...func(*Config)) {
	n.t.Helper()
	c := datapath.Config{PinDir: n.dir}
	rc := Config{PinDir: c.CompanionDir()}
	for _, f := range adjust {
		f(&rc)
	}
	var err error
	n.r, err = Open(rc)
	must(n.t, err)
	c.Companion = n.r
	n.d, err = datapath.Open(c)
	must(n.t, err)
}

func (n *node) close() {
	if n.d != nil {
		must(n.t, errors.Join(n.d.Close(), n.r.Close()))
		n.d, n.r = nil, nil
	}
}

// apply brings rules into force for every container of pods but the sandbox.
func (n *node) apply(pods []*box, rules ...snapshot.RuntimeRuleRow) {
	n.t.Helper()
	n.applyTo("", pods, rules...)
}

// applyTo does so for the containers of a name.
func (n *node) applyTo(container string, pods []*box, rules ...snapshot.RuntimeRuleRow) {
	n.t.Helper()
	b := rowtest.New("guest")
	if n.around != nil {
		n.around(b)
	}
	set := b.Set()
	ruleset := snapshot.RuntimeRulesetRow{ID: snapshot.NewRulesetID([]byte("rules"))}
	for i, r := range rules {
		r.ID = snapshot.NewRuleID([]byte{byte(i)})
		if !r.Staged {
			r.Enforced, r.Staged = true, true
		}
		set.Put(snapshot.Encode(snapshot.RuleRow{ID: r.ID, Tier: 2, PolicyKind: 4, Namespace: "test", Policy: "p", Rule: "executables/" + strconv.Itoa(i)}))
		set.Put(snapshot.Encode(r))
		ruleset.Rules = append(ruleset.Rules, r.ID)
	}
	for _, name := range []string{"(default)", "(unresolvable)"} {
		set.Put(snapshot.Encode(snapshot.RuleRow{ID: snapshot.NewRuleID([]byte(name)), Tier: 4, Policy: "palisade", Rule: name}))
	}
	kind := rowtest.KindOf("box")
	set.Put(snapshot.Encode(ruleset))
	set.Put(snapshot.Encode(snapshot.RuntimeSubjectRow{Kind: kind, Container: container, Ruleset: ruleset.ID}))
	for _, p := range pods {
		set.Put(snapshot.Encode(snapshot.RuntimePodRow{UID: p.uid, Kind: kind, Namespace: "test", Name: p.id}))
	}
	n.counter++
	_, err := n.d.Apply(n.t.Context(), layout.Update{
		Generation: snapshot.Generation{Epoch: 1, Term: 1, Counter: n.counter}, Digest: set.Digest(),
		Full: true, Delta: snapshot.Diff(snapshot.NewSet(), set), Facts: []layout.Binding{},
	})
	must(n.t, err)
}

func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	s, ok := exit.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// stopped checks that an execution did not happen, as the backend has it.
func (n *node) stopped(what, out string, err error) {
	n.t.Helper()
	if n.r.Backends()[Executables].Means == events.Signal {
		if !killed(err) {
			n.t.Errorf("%s: %q, %v, want killed", what, out, err)
		}
		return
	}
	if err == nil || (out != "exec: EPERM" && out != "EPERM") {
		n.t.Errorf("%s: %q, %v, want EPERM", what, out, err)
	}
}

func (n *node) goes(what, out string, err error) {
	n.t.Helper()
	if err != nil || out != "done" {
		n.t.Errorf("%s: %q, %v", what, out, err)
	}
}

// TestExec: the first instruction of the first program is judged, and those after it.
func TestExec(t *testing.T) {
	n := newNode(t)
	t.Logf("backends: %v", n.r.Backends())
	b, other := newBox(t), newBox(t)
	out, err := b.run(t, "/bin/denied")
	n.goes("control", out, err)
	n.apply([]*box{b}, snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/denied"}})
	out, err = b.run(t, "/bin/denied")
	n.stopped("first program", out, err)
	out, err = b.run(t, "/bin/app", "exec", "/bin/denied")
	n.stopped("second program", out, err)
	out, err = b.run(t, "/bin/script")
	n.stopped("interpreter", out, err)
	out, err = b.runBySelf(t, "/bin/denied")
	n.stopped("first program of who came by itself", out, err)
	out, err = b.runBySelf(t, "/bin/app")
	n.goes("another program of who came by itself", out, err)
	out, err = b.run(t, "/bin/app")
	n.goes("another program", out, err)
	out, err = other.run(t, "/bin/denied")
	n.goes("another pod", out, err)
	n.apply([]*box{b}, snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/nothing"}})
	out, err = b.run(t, "/bin/denied")
	n.goes("after the rule left", out, err)
}

// TestAgentDies: what is in force stays so without an agent, and a new one takes over.
func TestAgentDies(t *testing.T) {
	n := newNode(t)
	b := newBox(t)
	deny := snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/denied"}}
	n.apply([]*box{b}, deny)
	means := n.r.Backends()
	n.close()
	n.r = &Runtime{backends: means}
	out, err := b.run(t, "/bin/denied")
	n.stopped("without an agent", out, err)
	n.open()
	if !n.d.Adopted() {
		t.Error("the new agent found nothing")
	}
	out, err = b.run(t, "/bin/denied")
	n.stopped("adopted", out, err)
	n.apply([]*box{b}, deny)
	out, err = b.run(t, "/bin/denied")
	n.stopped("applied again", out, err)
	n.apply([]*box{b}, snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/nothing"}})
	out, err = b.run(t, "/bin/denied")
	n.goes("after the rule left", out, err)
}

// TestSandbox: rules for the sandbox judge its first program, and nobody else's.
func TestSandbox(t *testing.T) {
	n := newNode(t)
	nobody := snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Isolation: true}
	n.apply(nil, nobody) // programs are there before the pod is
	b := newBox(t)
	sandbox := *b
	sandbox.cgroup = b.sandbox
	n.applyTo(snapshot.RuntimePauseContainer, []*box{b}, nobody)
	out, err := sandbox.run(t, "/bin/app")
	n.stopped("the sandbox", out, err)
	out, err = b.run(t, "/bin/app")
	n.goes("a container beside it", out, err)
}

// TestUnknownPodsExecute: what a pod executes that the snapshot does not know is allowed or
// denied, as was chosen, and once it is known its rules alone count.
func TestUnknownPodsExecute(t *testing.T) {
	elsewhere := snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/denied"}}
	for _, choice := range []UnknownPods{UnknownAllow, UnknownDeny} {
		t.Run(string(choice), func(t *testing.T) {
			n := newNode(t, func(c *Config) { c.Unknown = choice })
			if have := n.r.Unknown(); have != choice {
				t.Errorf("the node says %s", have)
			}
			b, other := newBox(t), newBox(t)
			n.apply([]*box{other}, elsewhere)
			out, err := b.run(t, "/bin/app")
			if choice == UnknownDeny {
				n.stopped("a pod that is not known", out, err)
			} else {
				n.goes("a pod that is not known", out, err)
			}
			out, err = other.run(t, "/bin/app")
			n.goes("a pod that is known", out, err)

			n.apply([]*box{b, other}, elsewhere)
			out, err = b.run(t, "/bin/app")
			n.goes("a pod that has become known", out, err)
			out, err = b.run(t, "/bin/denied")
			n.stopped("its own rule", out, err)
		})
	}
}
