//go:build guest

package runtime

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/container"
)

// actions tries every type of rule with every action, as far as something enforces it.
func (s *stage) actions(t *testing.T, a *agent, all []Planned) {
	backends := backends(t)
	for _, p := range all {
		backend := backends[p.Kind.Section]
		if backend == string(events.NoBackend) {
			continue
		}
		result, err := s.action(a, p, backend)
		if err != nil {
			t.Errorf("%s %s: %v", p.Kind.Label(), p.Action, err)
			continue
		}
		tell(t, Result{Kernel: kernel(t), Section: p.Kind.Section, Type: p.Kind.Name, Action: p.Action, Backend: backend, Result: result})
	}
	s.acceptance(t, backends)
}

// action tries a type of rule with an action: what it spares first, and then what it is
// about.
func (s *stage) action(a *agent, p Planned, backend string) (string, error) {
	pod, dir := s.pod(p.Row.Pod), p.Row.Dir(p.Kind.Attack)
	var spared container.Outcome
	if p.Kind.Spared != "" {
		var err error
		if spared, err = pod.attacker.Attack(p.Kind.Spared, dir); err != nil {
			return "", fmt.Errorf("%s: %w", p.Kind.Spared, err)
		}
		if p.Action != Accept && !spared.Succeeded {
			return "", fmt.Errorf("%s, of which the rule does not speak: %+v", p.Kind.Spared, spared)
		}
	}
	o, err := s.attack(pod, p.Row, p.Kind.Attack)
	if err != nil {
		return "", err
	}
	result := ""
	if p.Action == Accept {
		result = accepted(backend, o, spared)
	} else {
		result = effect(p.Action, backend, o, func() bool { return a.staged(p.Row.Name, p.Rule) })
	}
	if result == "" {
		err = fmt.Errorf("%+v, and what is spared: %+v", o, spared)
	}
	return result, err
}

// accepted is what came of a rule that accepts: what it is about happens, and what else
// is denied does not. Empty if that may not be.
func accepted(backend string, yes container.Outcome, others ...container.Outcome) string {
	result := Accepted
	for _, o := range others {
		switch effect(Deny, backend, o, nil) {
		case Prevented, KilledAfter:
		case NotStopped:
			result = NotStopped
		default:
			return ""
		}
	}
	if !yes.Succeeded {
		return ""
	}
	return result
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

// acceptance tries what the allow-lists accept, and what they leave out.
func (s *stage) acceptance(t *testing.T, backends map[string]string) {
	told := map[string]bool{} // sections
	for i, kind := range accepts() {
		backend := backends[kind.Section]
		if backend == string(events.NoBackend) {
			continue
		}
		yes, others, err := s.listed(kind, i)
		result := accepted(backend, yes, others...)
		if err != nil || result == "" {
			t.Errorf("%s Accept: accepted: %+v, others: %+v, %v", kind.Label(), yes, others, err)
			continue
		}
		line := Result{Kernel: kernel(t), Section: kind.Section, Type: kind.Name, Action: Accept, Backend: backend, Result: result}
		tell(t, line)
		if !told[kind.Section] { // what is left out of a list meets the section's default
			told[kind.Section] = true
			line.Type, line.Action, line.Result = sectionDefault, Deny, effect(Deny, backend, others[0], nil)
			tell(t, line)
		}
	}
}

// listed tries what a type's rule is about with the rule and without it, and with it what
// it is not about.
func (s *stage) listed(kind Type, index int) (yes container.Outcome, others []container.Outcome, err error) {
	about, spared := kind.Attack, kind.Spared
	if kind.Inverse {
		about, spared = spared, about
	}
	try := func(with bool, name string) container.Outcome {
		pod := kind.acceptPod(with, index)
		o, oerr := s.pod(pod).attacker.Attack(name, kind.row(pod).Dir(kind.Attack))
		err = errors.Join(err, oerr)
		return o
	}
	others = append(others, try(false, about))
	if spared != "" {
		others = append(others, try(true, spared))
	}
	return try(true, about), others, err
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
