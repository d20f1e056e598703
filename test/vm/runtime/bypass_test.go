//go:build guest

package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"palisade.dev/palisade/test/vm/container"
)

// bypasses tries every row with its policy, where it must be stopped: one line each.
func (s *stage) bypasses(t *testing.T, controls map[string]string, held map[string]map[string]*container.Attack) {
	for _, r := range Rows {
		stopped, how := s.policy(r, held[r.Name])
		fmt.Printf("%s control=%s policy=%s\n", r.Name, controls[r.Name], how)
		switch {
		case controls[r.Name] != "succeeded":
			t.Errorf("%s: the control %s: the row shows nothing", r.Name, controls[r.Name])
		case !stopped && r.NotStopped == "":
			t.Errorf("%s: %s: %s", r.Name, r.What, how)
		case stopped && r.NotStopped != "":
			t.Errorf("%s is stopped, and documented as not stopped: %s", r.Name, r.NotStopped)
		case stopped:
			tell(t, Result{Kernel: kernel(t), Row: r.Name, What: r.What, Result: Stopped})
		default:
			tell(t, Result{Kernel: kernel(t), Row: r.Name, What: r.What, Result: NotStopped, Reason: r.NotStopped})
		}
	}
	for _, name := range Pods(Rows) {
		if o := s.attackOnce(name, "work", "/tmp"); !o.Succeeded {
			t.Errorf("pod %s: its policies stop normal work: %+v", name, o)
		}
	}
	if o := s.attackOnce(control, "read-public", "/rows"); !o.Succeeded {
		t.Errorf("a pod without policies reads no file: %+v", o)
	}
}

// control runs a row's attacks where no policy speaks of them.
func (s *stage) control(r Row) string {
	s.t.Helper()
	p := s.pod(controlOf(r))
	var failed []string
	for _, name := range r.Attacks {
		o, err := s.attack(p, r, name)
		if err != nil || !o.Succeeded {
			failed = append(failed, name)
			s.t.Logf("%s: %s: errno=%s %v: %s", r.Name, name, o.Errno, err, o.Said)
		}
	}
	if len(failed) > 0 {
		return "failed(" + strings.Join(failed, ",") + ")"
	}
	return "succeeded"
}

// hold begins the attacks that come before the policy.
func (s *stage) hold() map[string]map[string]*container.Attack {
	s.t.Helper()
	all := map[string]map[string]*container.Attack{}
	for _, r := range s.rows {
		if !r.Held {
			continue
		}
		all[r.Name] = map[string]*container.Attack{}
		for _, name := range r.Attacks {
			x, err := s.pod(r.PodName()).attacker.Begin(name, r.Dir(name))
			must(s.t, err)
			if _, err := x.Wait("ready"); err != nil {
				s.t.Fatalf("%s: %s: %v", r.Name, name, err)
			}
			all[r.Name][name] = x
		}
	}
	return all
}

// policy runs a row's attacks under its policy, and says how they ended.
func (s *stage) policy(r Row, held map[string]*container.Attack) (stopped bool, how string) {
	s.t.Helper()
	p := s.pod(r.PodName())
	errnos := map[string]bool{}
	var through []string
	for _, name := range r.Attacks {
		o, err := s.proceed(p, r, name, held[name])
		switch {
		case err != nil:
			through = append(through, name+":"+strings.ReplaceAll(err.Error(), " ", "_"))
		case o.Succeeded:
			through = append(through, name)
		default:
			errnos[o.Errno] = true
			if !refused(o) && o.Errno != "SIGKILL" {
				through = append(through, name+":"+o.Errno)
				s.t.Logf("%s: %s: errno=%s: %s", r.Name, name, o.Errno, o.Said)
			}
		}
	}
	switch {
	case len(through) > 0 && r.NotStopped != "":
		return false, "not-stopped (documented: " + r.NotStopped + ")"
	case len(through) > 0:
		return false, "not-stopped(" + strings.Join(through, ",") + ")"
	}
	return true, "stopped errno=" + strings.Join(slices.Sorted(maps.Keys(errnos)), ",")
}

// refused reports whether an operation was refused. Where the security framework says
// EPERM some system calls say EACCES.
func refused(o container.Outcome) bool { return o.Errno == "EPERM" || o.Errno == "EACCES" }

// proceed runs an attack, or lets one go on.
func (s *stage) proceed(p *podOnStage, r Row, name string, held *container.Attack) (container.Outcome, error) {
	if held == nil {
		return s.attack(p, r, name)
	}
	if err := held.Go(); err != nil {
		return container.Outcome{}, err
	}
	return held.Result()
}
