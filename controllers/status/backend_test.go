package status

import (
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
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
	partly.note(publish.Condition{Type: wire.ConditionRuntime + "Network", Reason: "cgroup", Message: "cannot judge Listen", Unjudged: uint32(model.SocketListen) | snapshot.OverSCTP(uint32(model.SocketOperations)) | snapshot.AskFromScript})
	partly.note(publish.Condition{Type: wire.ConditionRuntime + "Executables", Reason: "signal", Message: "cannot judge mappings", Unjudged: snapshot.AskScript | snapshot.AskMapping | snapshot.AskFromScript})
	missing := mixed
	missing.note(publish.Condition{Type: wire.ConditionRuntime + "Privileges", Reason: "lsm", Message: "cannot judge SetGroup", Unjudged: uint32(model.PrivilegeSetGroup)})
	const connect, listen = uint32(model.SocketConnect), uint32(model.SocketListen)
	asking := func(s model.Section, asks ...gather.Ask) (out [model.Sections][]gather.Ask) {
		out[s] = asks
		return out
	}
	rule := func(bits uint32) [model.Sections][]gather.Ask {
		return asking(network, gather.Ask{Rule: "r", Bits: bits})
	}
	tests := map[string]struct {
		backends Backends
		broken   bool // what is for packets does not work
		demand   Demand
		progress Progress
		backend  Backend
		reason   string
		message  string
	}{
		"prevented":          {mixed, false, Demand{Sections: []model.Section{network, model.SectionPrivileges}}, Realized, "cgroup", "", ""},
		"killed":             {mixed, false, Demand{Sections: []model.Section{network, executables}}, Realized, Signal, "", ""},
		"killed, to prevent": {mixed, false, Demand{Sections: []model.Section{executables}, Prevent: true}, Failed, Signal, v1alpha1.ReasonBackendCannotPrevent, "executables can only be answered by signal: because of Executables"},
		"killed, by name": {
			mixed, false, Demand{Sections: []model.Section{executables}, Prevent: true, Asks: asking(executables, gather.Ask{Rule: "sh", Bits: 1}, gather.Ask{Rule: "nc", Bits: 1})},
			Failed, Signal, v1alpha1.ReasonBackendCannotPrevent, "executables can only be answered by signal, which is about executables/sh, executables/nc: because of Executables",
		},
		"prevented, as demanded": {mixed, false, Demand{Sections: []model.Section{network}, Prevent: true}, Realized, "cgroup", "", ""},
		"not all of it":          {partly, false, Demand{Sections: []model.Section{network}, Asks: rule(connect | listen)}, Realized, "cgroup", "", ""},
		"not all, to prevent":    {partly, false, Demand{Sections: []model.Section{network}, Asks: rule(connect | listen), Prevent: true}, Failed, "cgroup", v1alpha1.ReasonBackendCannotPrevent, "network/r by cgroup: cannot judge Listen"},
		"all that it is about":   {partly, false, Demand{Sections: []model.Section{network}, Asks: rule(connect), Prevent: true}, Realized, "cgroup", "", ""},
		"not all protocols":      {partly, false, Demand{Sections: []model.Section{network}, Asks: rule(connect | snapshot.OverSCTP(connect)), Prevent: true}, Failed, "cgroup", v1alpha1.ReasonBackendCannotPrevent, "network/r by cgroup"},
		"not all who ask":        {partly, false, Demand{Sections: []model.Section{network}, Asks: rule(connect | snapshot.AskFromScript), Prevent: true}, Realized, "cgroup", "", ""},
		"not all, and nothing": {
			partly, false, Demand{Sections: []model.Section{network}, Asks: asking(network, gather.Ask{Rule: "tcp", Bits: connect}, gather.Ask{Rule: "sctp", Bits: snapshot.OverSCTP(connect) | snapshot.AskFromScript})},
			Failed, "cgroup", v1alpha1.ReasonKernelUnsupported, "network/sctp cannot be enforced by cgroup: cannot judge Listen",
		},
		"not all executables":   {partly, false, Demand{Sections: []model.Section{executables}, Asks: asking(executables, gather.Ask{Rule: "r", Bits: snapshot.AskProgram | snapshot.AskScript | snapshot.AskMapping})}, Realized, Signal, "", ""},
		"not all, by a hook":    {missing, false, Demand{Sections: []model.Section{model.SectionPrivileges}, Asks: asking(model.SectionPrivileges, gather.Ask{Rule: "r", Bits: uint32(model.PrivilegeSetGroup)})}, Realized, "lsm", "", ""},
		"nothing":               {mixed, false, Demand{Sections: []model.Section{model.SectionFiles}}, Failed, None, v1alpha1.ReasonKernelUnsupported, "files cannot be enforced: because of Files"},
		"no packets, processes": {mixed, true, Demand{Sections: []model.Section{network}}, Realized, "cgroup", "", ""},
		"no packets, both":      {mixed, true, Demand{Network: true, Sections: []model.Section{network}}, Failed, "cgroup", v1alpha1.ReasonKernelUnsupported, "lacks netfilter"},
		"an older agent":        {Backends{}, false, Demand{Sections: []model.Section{network}}, Failed, "", v1alpha1.ReasonKernelUnsupported, "enforces no runtime rules"},
		"packets alone":         {Backends{}, false, Demand{Network: true}, Realized, "", "", ""},
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
	two := func(weakest, network, executables Backend) Node {
		n := node(weakest)
		n.Sections = []SectionBackend{{model.SectionExecutables, executables}, {model.SectionNetwork, network}}
		return n
	}
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
		"by sections": {[]Node{two(Signal, Cgroup, Signal), two(Signal, Cgroup, Signal)}, "in force on 2 nodes: network prevented and executables killed after the fact on 2 nodes"},
		"by nodes and sections": {
			[]Node{two(Signal, Signal, Signal), two(Signal, Cgroup, Signal), two("lsm", "lsm", "lsm"), two(Cgroup, Cgroup, "lsm")},
			"in force on 4 nodes: prevented on 2 nodes, network prevented and executables killed after the fact on 1, killed after the fact on 1",
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

// TestObservingSaysHow: what enforcing would come to, and what is not even observed, is
// known before a policy is promoted.
func TestObservingSaysHow(t *testing.T) {
	nodes := []Node{
		{Name: "n1", Ready: true, Progress: Realized, Backend: "lsm"},
		{Name: "n2", Ready: true, Progress: Realized, Backend: Signal, Unjudged: "executables/sh by signal: cannot judge scripts"},
	}
	for name, tc := range map[string]struct {
		nodes []Node
		want  string
	}{
		"no runtime": {[]Node{{Name: "n1", Ready: true, Progress: Realized}}, "observing, not enforcing"},
		"all":        {nodes[:1], "observing, not enforcing; enforced it would be: prevented on 1 node"},
		"not all": {
			nodes, "observing, not enforcing; enforced it would be: prevented on 1 node, killed after the fact on 1;" +
				" not every operation is observed on 1 node: n2: executables/sh by signal: cannot judge scripts",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := Facts{Verdict: Verdict{Accepted: true}, Endpoints: 1, Nodes: tc.nodes, Audit: true}
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
