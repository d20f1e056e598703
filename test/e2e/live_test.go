package e2e

import (
	"fmt"
	"testing"
	"time"
)

// TestLiveConnectionsAreCut: what is denied now ends at the next packet, however
// long it has been open; what stays allowed is not disturbed.
func TestLiveConnectionsAreCut(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2", "other@n2")
	web, client, other := p[0], p[1], p[2]
	targets := []string{web.tcp4(8080), web.tcp6(8080), web.udp4(8080)}
	for _, from := range []pod{client, other} {
		expect(t, from, map[string]bool{targets[0]: true, targets[1]: true, targets[2]: true})
	}
	cut, kept := watch(t, other, true, targets...), watch(t, client, true, web.tcp4(8080), web.tcp6(8080))
	for _, target := range targets {
		cut.becomes(t, target, true)
	}
	began := time.Now()
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	inForce := time.Now()
	for _, target := range targets {
		cut.becomes(t, target, false)
	}
	kept.goesOn(t, inForce, 5, web.tcp4(8080), web.tcp6(8080))
	cut.goesOn(t, inForce, 2, targets...)
	cut.always(t, inForce, 1, map[string]bool{targets[0]: false, targets[1]: false, targets[2]: false})
	kept.always(t, began, 5, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true})
}
