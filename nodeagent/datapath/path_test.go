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
		expect(t, "control: a to b", a.reaches(at(b), 8080), true)
	})
	l.apply(newState().protect("b", false, "c:8080/tcp").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "c to b, accepted", c.reaches(at(b), 8080), true)
		expect(t, "a to b, isolated", a.reaches(at(b), 8080), false)
		if got := l.deniedBy(at(a), at(b)); got != "isolated" {
			t.Errorf("denied by %q, want isolated", got)
		}
		expect(t, "b to a, not isolated", b.reaches(at(a), 8080), true)
	})
}
