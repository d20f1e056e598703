package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestBridgeSettingIsPutBack: with bridge-nf-call-* off, packets between pods of
// one node go around the hooks. The agent puts it back, and until then there is a
// way around, which is the control.
func TestBridgeSettingIsPutBack(t *testing.T) {
	onlyLocal(t)
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "near@n1", "far@n2")
	web, near, far := p[0], p[1], p[2]
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	closed := map[string]bool{web.tcp4(8080): false, web.tcp6(8080): false}
	expect(t, near, closed)
	expect(t, far, closed)

	w := watch(t, near, false, web.tcp4(8080))
	began := time.Now()
	pace.Until(t, "a way around", func() error {
		inside(t, "n1", "sh", "-c", "for f in /proc/sys/net/bridge/bridge-nf-call-iptables /proc/sys/net/bridge/bridge-nf-call-ip6tables; do echo 0 >$f; done")
		if !slices.ContainsFunc(w.tries(web.tcp4(8080), began), func(r try) bool { return r.OK }) {
			return fmt.Errorf("%s does not reach %s with the settings off", near, web)
		}
		return nil
	})
	pace.Until(t, "the settings", func() error {
		if got := strings.Fields(inside(t, "n1", "cat", "/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables")); len(got) != 2 || got[0] != "1" || got[1] != "1" {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
	w.becomes(t, web.tcp4(8080), false)
	expect(t, near, closed)
	expect(t, far, closed)
}
