package gather

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"palisade.dev/palisade/policy/model"
)

func external(name string) model.EndpointID {
	return model.EndpointID{Kind: model.EndpointExternal, Namespace: "shop", Name: name}
}

func pod(name string) model.EndpointID { return model.EndpointID{Namespace: "shop", Name: name} }

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestClaims(t *testing.T) {
	t0 := time.Unix(1000, 0)
	first := func(c *claims) { c.setWorkload(external("legacy"), t0, addrs("192.0.2.7")) }
	tests := map[string]struct {
		build func(*claims)
		want  string
	}{
		"free":    {func(*claims) {}, ""},
		"a pod's": {func(c *claims) { c.setOwner(pod("web"), addrs("10.0.0.1", "192.0.2.7")) }, "the address of pod shop/web"},
		"no longer a pod's": {func(c *claims) {
			c.setOwner(pod("web"), addrs("192.0.2.7"))
			c.setOwner(pod("web"), nil)
		}, ""},
		"a node's": {func(c *claims) {
			c.setOwner(model.EndpointID{Kind: model.EndpointNode, Name: "n1"}, addrs("192.0.2.7"))
		}, "the address of node n1"},
		"in a range":            {func(c *claims) { c.setRanges("node n1", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}) }, "the range of node n1"},
		"claimed before":        {func(c *claims) { c.setWorkload(external("older"), t0.Add(-time.Second), addrs("192.0.2.7")) }, "claimed by pew/shop/older"},
		"claimed after":         {func(c *claims) { c.setWorkload(external("newer"), t0.Add(time.Second), addrs("192.0.2.7")) }, ""},
		"at once, smaller name": {func(c *claims) { c.setWorkload(external("a"), t0, addrs("192.0.2.7")) }, "claimed by pew/shop/a"},
		"at once, greater name": {func(c *claims) { c.setWorkload(external("z"), t0, addrs("192.0.2.7")) }, ""},
		"the other claim is gone": {func(c *claims) {
			c.setWorkload(external("a"), t0, addrs("192.0.2.7"))
			c.setWorkload(external("a"), time.Time{}, nil)
		}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newClaims()
			first(c)
			test.build(c)
			got := c.conflict(external("legacy"))
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestClaimsNameTheAffected: a workload's verdict changes only with a call that
// returned it, and verdicts do not depend on the order of calls.
func TestClaimsNameTheAffected(t *testing.T) {
	pool := addrs("192.0.2.1", "192.0.2.2", "2001:db8::1")
	rapid.Check(t, func(t *rapid.T) {
		some := func() []netip.Addr {
			var out []netip.Addr
			for _, a := range pool {
				if rapid.Bool().Draw(t, "has") {
					out = append(out, a)
				}
			}
			return out
		}
		c := newClaims()
		names := []model.EndpointID{external("a"), external("b"), external("c")}
		verdicts := map[model.EndpointID]string{}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			var affected []model.EndpointID
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				affected = c.setOwner(pod(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "pod")), some())
			case 1:
				id := rapid.SampledFrom(names).Draw(t, "workload")
				affected = append(c.setWorkload(id, time.Unix(int64(rapid.IntRange(0, 2).Draw(t, "created")), 0), some()), id)
			case 2:
				var ranges []netip.Prefix
				if rapid.Bool().Draw(t, "range") {
					ranges = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/31")}
				}
				affected = c.setRanges("services", ranges)
			}
			for _, id := range affected {
				verdicts[id] = c.conflict(id)
			}
			for _, id := range names {
				if got := c.conflict(id); got != verdicts[id] {
					t.Fatalf("%s went from %q to %q unannounced", id, verdicts[id], got)
				}
			}
		}
		again := newClaims()
		for id, w := range c.workloads {
			again.setWorkload(id, w.created, w.addresses)
		}
		for id, list := range c.owned {
			again.setOwner(id, list)
		}
		for of, list := range c.ranges {
			again.setRanges(of, list)
		}
		for _, id := range names {
			if c.conflict(id) != again.conflict(id) {
				t.Fatalf("%s: the verdict depends on history", id)
			}
		}
	})
}
