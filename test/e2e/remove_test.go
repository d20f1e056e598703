package e2e

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// removal is the test that takes Palisade off the cluster: it comes after all others,
// also after those that run beside each other.
const removal = "TestRemove"

// runAll runs the tests, and then the removal, where it is asked for and may be.
func runAll(m *testing.M) int {
	flag.Parse() // before TestMain nobody has
	asked, skip := flag.Lookup("test.run").Value.String(), flag.Lookup("test.skip").Value.String()
	match, err := regexp.MatchString(asked, removal)
	last := err == nil && match && skip == "" && os.Getenv("PALISADE_INSTALLED") == "" && os.Getenv("KEEP") == "" && target.kind == "local"
	if skip == "" {
		setFlag("test.skip", "^"+removal+"$")
	}
	code := m.Run()
	if last && code == 0 {
		setFlag("test.run", "^"+removal+"$")
		setFlag("test.skip", "")
		code = m.Run()
	}
	return code
}

func setFlag(name, value string) {
	if err := flag.Set(name, value); err != nil {
		panic(err) // the name is of package testing
	}
}

// TestRemove: what was denied is open again, pods start without an agent, and nothing
// of Palisade is left on the nodes.
func TestRemove(t *testing.T) {
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "client@n2", "other@n2")
	web, client, other := p[0], p[1], p[2]
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	expect(t, other, map[string]bool{web.tcp4(8080): false, web.tcp6(8080): false})
	expect(t, client, map[string]bool{web.tcp4(8080): true})
	for _, node := range []string{"n1", "n2"} {
		inside(t, node, "sh", "-c", "test -e /sys/fs/bpf/palisade && grep -q palisade /etc/cni/net.d/*")
		// As config/host would have put it there.
		inside(t, node, "sh", "-c", "mkdir -p /opt/palisade/bin && touch /opt/palisade/bin/nodeagent")
	}

	if err := install("remove"); err != nil {
		t.Fatalf("hack/install.sh remove: %v", err)
	}
	expect(t, other, map[string]bool{web.tcp4(8080): true, web.tcp6(8080): true})
	late := launch(t, ns, "late@n1", "later@n2")
	expect(t, late[0], map[string]bool{late[1].tcp4(8080): true, late[1].tcp6(8080): true})
	for _, node := range []string{"n1", "n2"} {
		if left := strings.TrimSpace(inside(t, node, "sh", "-c", `ls -d /sys/fs/bpf/palisade* /opt/cni/bin/palisade* /opt/palisade/* 2>/dev/null
			ls -A /var/lib/palisade 2>/dev/null | grep -vx lock; grep -l palisade /etc/cni/net.d/*; true`)); left != "" {
			t.Errorf("on %s there is still: %s", node, left)
		}
	}
	if left := must(t, "", "get", "crd,namespace,validatingwebhookconfiguration,clusterrole,clusterrolebinding", "-o", "name"); strings.Contains(left, "palisade") {
		t.Errorf("the cluster still has: %s", left)
	}
}
