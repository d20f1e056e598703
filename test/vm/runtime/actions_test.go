//go:build guest

package runtime

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/container"
)

// row is a type's attack in a pod of its own directories.
func (t Type) row(pod string) Row {
	return Row{Name: pod + "-" + t.Label(), Attacks: []string{t.Attack}, Volume: t.Volume, Pod: pod}
}

// planned is a type of rule with an action, and where it is tried.
type planned struct {
	kind   Type
	action string
	row    Row
}

// plan is every type with Audit, Deny and Kill. The policies of one pod that deny or
// kill have one half of the types each.
func plan() (all []planned, rows []Row) {
	for _, kind := range Types {
		for _, action := range []string{Audit, Deny, Kill} {
			pod := strings.ToLower(action)
			if action != Audit {
				pod += fmt.Sprint(kind.Half)
			}
			r := kind.row(pod)
			r.Spec = fmt.Sprintf("%s: {rules: [{name: %s, action: %s, %s}]}", kind.Section, kind.Name, action, kind.Match)
			all = append(all, planned{kind, action, r})
			rows = append(rows, r)
		}
	}
	return all, rows
}

// actions tries every type of rule with every action, as far as something enforces it.
func (s *stage) actions(t *testing.T, a *agent, all []planned) {
	backends := backends(t)
	for _, p := range all {
		backend := backends[p.kind.Section]
		if backend == string(events.NoBackend) {
			continue
		}
		o, err := s.attack(s.pod(p.row.Pod), p.row, p.kind.Attack)
		if err != nil {
			t.Errorf("%s %s: %v", p.kind.Label(), p.action, err)
			continue
		}
		result := effect(p.action, backend, o, func() bool { return a.staged(p.row.Name, p.kind.Section+"/"+p.kind.Name) })
		if result == "" {
			t.Errorf("%s %s: succeeded=%v errno=%s: %s", p.kind.Label(), p.action, o.Succeeded, o.Errno, o.Said)
			continue
		}
		tell(t, Result{Kernel: kernel(t), Section: p.kind.Section, Type: p.kind.Name, Action: p.action, Backend: backend, Result: result})
	}
	s.acceptance(t, backends)
}

// effect is what came of a rule's action; empty if that may not be. What comes after the
// fact does not see all there is: what is on record says which types it sees.
func effect(action, backend string, o container.Outcome, observed func() bool) string {
	after := backend == string(events.Signal)
	switch {
	case action == Audit && o.Succeeded && observed():
		return Observed
	case action == Audit && o.Succeeded && after:
		return NotObserved
	case action == Audit:
		return ""
	case after && o.Errno == "SIGKILL":
		return KilledAfter
	case after && o.Succeeded:
		return NotStopped
	case action == Deny && refused(o) && !after:
		return Prevented
	case action == Kill && o.Errno == "SIGKILL":
		return Killed
	}
	return ""
}

func tell(t *testing.T, r Result) {
	t.Helper()
	line, err := r.Line()
	must(t, err)
	fmt.Println(line)
}

func kernel(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	parts := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	return parts[0] + "." + parts[1]
}

// backends are those that the agent reports, by section. It reports them once it has
// looked at the node, a moment after it enforces.
func backends(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	poll.Holds(t, "the agent's conditions name backends", func() bool {
		st, err := status()
		must(t, err)
		for _, c := range st.Conditions {
			if name, ok := strings.CutPrefix(c.Type, "Runtime"); ok {
				out[strings.ToLower(name)] = c.Reason
			}
		}
		return len(out) > 0
	})
	return out
}

// acceptPod is the pod whose allow-list has a type's rule; the other one's has not.
// An attack on a user namespace, or by pivot_root, mounts something too.
func (t Type) acceptPod(with bool, index int) string {
	first := index%2 == 0
	pod := "accept-" + t.Section
	if t.Section == "privileges" {
		first = t.Half == 1 || t.Name == "user-namespace" || t.Name == "pivot-root"
	}
	if first == with {
		return pod + "-first"
	}
	return pod + "-second"
}

// acceptRows are the allow-lists.
func acceptRows() []Row {
	rules := map[string][]string{} // by pod and section
	var rows []Row
	for i, kind := range Types {
		for _, with := range []bool{true, false} {
			pod := kind.acceptPod(with, i)
			r := kind.row(pod)
			rows = append(rows, r)
			at := pod + " " + kind.Section
			rule := func(name, match string) {
				match = strings.ReplaceAll(match, "$dir", r.Dir(kind.Attack))
				rules[at] = append(rules[at], fmt.Sprintf("{name: %s, action: Accept, %s}", name, match))
			}
			if with {
				rule(kind.Name, kind.Match)
			}
			if kind.Base != "" {
				rule(kind.Name+"-base", kind.Base)
			}
		}
	}
	for _, at := range slices.Sorted(maps.Keys(rules)) {
		pod, section, _ := strings.Cut(at, " ")
		own := rules[at]
		switch section {
		case "executables":
			own = append(own, "{name: attack, action: Accept, paths: [/bin/attack]}")
		case "files":
			own = append(own, needs)
		}
		rows = append(rows, Row{Name: pod + "-" + section, Pod: pod, Spec: fmt.Sprintf("%s: {default: Deny, rules: [%s]}", section, strings.Join(own, ", "))})
	}
	return rows
}

// acceptance tries what the allow-lists accept, and what they leave out.
func (s *stage) acceptance(t *testing.T, backends map[string]string) {
	for i, kind := range Types {
		if backends[kind.Section] == string(events.NoBackend) {
			continue
		}
		in, out := kind.acceptPod(true, i), kind.acceptPod(false, i)
		yes, err := s.attack(s.pod(in), kind.row(in), kind.Attack)
		no, err2 := s.attack(s.pod(out), kind.row(out), kind.Attack)
		if err := errors.Join(err, err2); err != nil {
			t.Errorf("%s Accept: %v", kind.Label(), err)
			continue
		}
		result := effect(Deny, backends[kind.Section], no, nil)
		switch {
		case yes.Succeeded && (result == Prevented || result == KilledAfter):
			result = Accepted
		case yes.Succeeded && result == NotStopped:
		default:
			t.Errorf("%s Accept: accepted: %+v, left out: %+v", kind.Label(), yes, no)
			continue
		}
		tell(t, Result{Kernel: kernel(t), Section: kind.Section, Type: kind.Name, Action: Accept, Backend: backends[kind.Section], Result: result})
	}
}

// staged reports whether a record says, before long, that a policy's rule in Audit
// would have denied.
func (a *agent) staged(policy, rule string) bool {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		data, err := os.ReadFile(a.records())
		if err == nil {
			for line := range strings.Lines(string(data)) {
				if strings.Contains(line, `"staged"`) && strings.Contains(line, policy) && strings.Contains(line, rule) {
					return true
				}
			}
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
