package datapath

import (
	"net/netip"
	"testing"
)

// TestPodToPod is the plain case: a pod isolated for ingress hears only whom it
// accepts, and replies need no rule of their own.
func TestPodToPod(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	b.serveTCP(8080)
	a.serveTCP(8080)
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "control: a to b", a, at(b), 8080, true)
	})
	l.apply(newState().protect("b", false, "c:8080/tcp").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "c to b, accepted", c, at(b), 8080, true)
		can(t, "a to b, isolated", a, at(b), 8080, false)
		if got := l.deniedBy(at(a), at(b)); got != "isolated" {
			t.Errorf("denied by %q, want isolated", got)
		}
		can(t, "b to a, not isolated", b, at(a), 8080, true)
	})
}

// TestNothingAppliedYet: an agent's first start must not cut the node off, or it
// would never hear of a first snapshot. An agent that died there, too.
func TestNothingAppliedYet(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	b.serveTCP(8080)
	l.open()
	all := func(when string, want bool) {
		t.Helper()
		both(t, func(t *testing.T, at func(*host) netip.Addr) {
			can(t, when, a, at(b), 8080, want)
		})
	}
	all("opened", true)
	if err := l.dp.Close(); err != nil {
		t.Fatal(err)
	}
	all("closed", true)
	l.reopen()
	all("opened again", true)
	l.apply(newState().protect("b", false, "c").build())
	all("applied", false)
}
