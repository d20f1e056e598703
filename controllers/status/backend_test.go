package status

import (
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot/wire"
)

func reported(pairs ...string) Backends {
	var b Backends
	for i := 0; i < len(pairs); i += 2 {
		b.note(publish.Condition{Type: wire.ConditionRuntime + pairs[i], Reason: pairs[i+1], Message: "because of " + pairs[i]})
	}
	return b
}

// TestBackendsOfANode: a policy counts on the weakest of the sections that it has,
// and on nothing that the node does not say.
func TestBackendsOfANode(t *testing.T) {
	const since = publish.Counter(10)
	executables, network := model.SectionExecutables, model.SectionNetwork
	mixed := reported("Executables", "signal", "Files", "none", "Privileges", "lsm", "Network", "cgroup")
	partly := mixed
	partly.note(publish.Condition{Type: wire.ConditionRuntime + "Network", Reason: "cgroup", Message: "cannot judge Listen", Unjudged: uint32(model.SocketListen)})
	listens, connects := [model.Sections]uint32{model.SectionNetwork: uint32(model.SocketListen | model.SocketConnect)}, [model.Sections]uint32{model.SectionNetwork: uint32(model.SocketConnect)}
	tests := map[string]struct {
		backends Backends
		broken   bool // what is for packets does not work
		demand   Demand
		progress Progress
		backend  Backend
		reason   string
		message  string
	}{
		"prevented":              {mixed, false, Demand{Sections: []model.Section{network, model.SectionPrivileges}}, Realized, "cgroup", "", ""},
		"killed":                 {mixed, false, Demand{Sections: []model.Section{network, executables}}, Realized, Signal, "", ""},
		"killed, to prevent":     {mixed, false, Demand{Sections: []model.Section{executables}, Prevent: true}, Failed, Signal, v1alpha1.ReasonBackendCannotPrevent, "executables can only be answered by signal: because of Executables"},
		"prevented, as demanded": {mixed, false, Demand{Sections: []model.Section{network}, Prevent: true}, Realized, "cgroup", "", ""},
		"not all of it":          {partly, false, Demand{Sections: []model.Section{network}, Operations: listens}, Realized, "cgroup", "", ""},
		"not all, to prevent":    {partly, false, Demand{Sections: []model.Section{network}, Operations: listens, Prevent: true}, Failed, "cgroup", v1alpha1.ReasonBackendCannotPrevent, "network by cgroup: cannot judge Listen"},
		"all that it is about":   {partly, false, Demand{Sections: []model.Section{network}, Operations: connects, Prevent: true}, Realized, "cgroup", "", ""},
		"nothing":                {mixed, false, Demand{Sections: []model.Section{model.SectionFiles}}, Failed, None, v1alpha1.ReasonKernelUnsupported, "files cannot be enforced: because of Files"},
		"no packets, processes":  {mixed, true, Demand{Sections: []model.Section{network}}, Realized, "cgroup", "", ""},
		"no packets, both":       {mixed, true, Demand{Network: true, Sections: []model.Section{network}}, Failed, "cgroup", v1alpha1.ReasonKernelUnsupported, "lacks netfilter"},
		"an older agent":         {Backends{}, false, Demand{Sections: []model.Section{network}}, Failed, "", v1alpha1.ReasonKernelUnsupported, "enforces no runtime rules"},
		"packets alone":          {Backends{}, false, Demand{Network: true}, Realized, "", "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			v := View{Ready: true, Connected: time.Hour, Known: true, Counter: since, Backends: tc.backends}
			if tc.broken {
				v.Broken = &publish.Condition{Reason: v1alpha1.ReasonKernelUnsupported, Message: "lacks netfilter"}
			}
			n := v.For("n1", since, tc.demand)
			if n.Progress != tc.progress || n.Backend != tc.backend || n.Reason != tc.reason || !strings.Contains(n.Message, tc.message) {
				t.Errorf("have %+v", n)
			}
			if partial := strings.HasPrefix(name, "not all"); partial != (n.Unjudged != "") {
				t.Errorf("unjudged: %q", n.Unjudged)
			}
		})
	}
}

// TestProgrammedSaysHow: that a rule is in force, and that it prevents, are two things.
func TestProgrammedSaysHow(t *testing.T) {
	node := func(b Backend) Node { return Node{Ready: true, Progress: Realized, Backend: b} }
	tests := map[string]struct {
		nodes []Node
		want  string
	}{
		"no runtime": {[]Node{node("")}, "in force on 1 node"},
		"prevented":  {[]Node{node("lsm"), node("cgroup")}, "in force on 2 nodes: prevented on 2 nodes"},
		"killed":     {[]Node{node(Signal)}, "in force on 1 node: killed after the fact on 1 node"},
		"partly": {
			[]Node{node("lsm"), {Name: "n2", Ready: true, Progress: Realized, Backend: "cgroup", Unjudged: "network by cgroup: cannot judge Listen"}},
			"in force on 2 nodes: prevented on 2 nodes; not every operation on 1 node: n2: network by cgroup: cannot judge Listen",
		},
		"both": {[]Node{node("lsm"), node(Signal), node("fmod_ret")}, "in force on 3 nodes: prevented on 2 nodes, killed after the fact on 1"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := Facts{Verdict: Verdict{Accepted: true}, Endpoints: 1, Nodes: tc.nodes}
			if have := programmed(&f, true).message; have != tc.want {
				t.Errorf("have %q, want %q", have, tc.want)
			}
		})
	}
}

// TestExceptionsEnd: the status lists what has ended, and the reconciler comes back
// for what ends next.
func TestExceptionsEnd(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	f := Facts{Now: now, Verdict: Verdict{Accepted: true}, Exceptions: map[string]time.Time{
		"files/b": now, "executables/a": now.Add(-time.Hour), "network/c": now.Add(time.Minute), "network/d": now.Add(time.Hour),
	}}
	after := Policy(v1alpha1.PolicyStatus{}, f)
	if have := strings.Join(after.ExpiredExceptions, " "); have != "executables/a files/b" {
		t.Errorf("expired: %s", have)
	}
	if have := again(0, f); have != time.Minute {
		t.Errorf("looks again in %v", have)
	}
}
