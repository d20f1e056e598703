//go:build guest

package inside

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

// The server is isolated and takes connections from the client at this port only.
const (
	openPort   = 5000
	closedPort = 5001
)

var (
	protocols = map[string]int{"tcp": unix.IPPROTO_TCP, "sctp": protoSCTP}
	families  = map[string]int{"ipv4": unix.AF_INET, "ipv6": unix.AF_INET6}
)

// rows are the server's policy, for pods with the addresses of node().
func rows() *rowtest.Builder {
	b := rowtest.New("guest", "10.1.0.0/24", "fd00:1::/64")
	b.Kind("client", "clients")
	b.Kind("server")
	allow, deny := b.Allow("allow"), b.Deny("isolated")
	open := b.Program(deny,
		snapshot.Segment{Proto: unix.IPPROTO_TCP, Lo: openPort, Hi: openPort, Answer: allow},
		snapshot.Segment{Proto: protoSCTP, Lo: openPort, Hi: openPort, Answer: allow},
	)
	shut, any := b.Program(deny), b.Program(b.Allow("any"))
	in := b.Ruleset("in", false, []string{"clients"}, func(in func(string) bool) snapshot.ProgramID {
		if in("clients") {
			return open
		}
		return shut
	})
	free := b.Ruleset("free-in", false, nil, func(func(string) bool) snapshot.ProgramID { return any })
	out := b.Ruleset("out", true, nil, func(func(string) bool) snapshot.ProgramID { return any })
	b.Subject("server", in, out)
	b.Subject("client", free, out)
	for _, name := range []string{"client", "server"} {
		b.Local(name, name)
	}
	b.Address(clientAddr4.String(), "client", "client")
	b.Address(clientAddr6.String(), "client", "client")
	b.Address(serverAddr4.String(), "server", "server")
	b.Address(serverAddr6.String(), "server", "server")
	return b
}

// update is the policy with pods behind these interfaces of the node.
func update(clientLink, serverLink uint32) layout.Update {
	b := rows()
	var facts []layout.Binding
	for _, a := range b.Holders() {
		f := layout.Binding{Addr: a, UID: "client", Ifindex: clientLink}
		if a == serverAddr4 || a == serverAddr6 {
			f = layout.Binding{Addr: a, UID: "server", Ifindex: serverLink}
		}
		facts = append(facts, f)
	}
	return layout.Update{
		Generation: snapshot.Generation{Epoch: 1, Term: 1, Counter: 1}, Digest: b.Set().Digest(),
		Full: true, Delta: b.Full(), Facts: facts,
	}
}

// The agent that gets killed: it applies the policy and waits for that.
func init() { roles["agent"] = agent }

const linksVariable = "PALISADE_LINKS"

func agent() error {
	var client, server uint32
	if _, err := fmt.Sscan(os.Getenv(linksVariable), &client, &server); err != nil {
		return fmt.Errorf("%s: %w", linksVariable, err)
	}
	d, err := datapath.Open(datapath.Config{})
	if err != nil {
		return err
	}
	if _, err := d.Apply(context.Background(), update(client, server)); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin) // until it is killed, or whoever started it is gone
	return err
}

// startAgent returns when the agent has applied the policy; kill ends it without a
// chance to clean up.
func startAgent(t *testing.T, client, server *pod) (kill func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=agent", fmt.Sprintf("%s=%d %d", linksVariable, client.link, server.link))
	cmd.Stderr = os.Stderr
	_, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	kill = func() {
		// Killed already, or about to be waited for: either is what is wanted.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "ready" {
		t.Fatalf("agent said %q, %v", line, err)
	}
	return kill
}

// TestNetworkPolicy: what is allowed passes and what is not is dropped, for TCP and
// SCTP, by real packets; it stays so when the agent is killed, and a new agent finds
// what the old one left.
func TestNetworkPolicy(t *testing.T) {
	client, server := node(t)
	for _, f := range host.Default(datapath.DefaultPinDir).Prepare() {
		t.Errorf("host: %s", f)
	}
	t.Cleanup(func() { must(t, datapath.Remove(datapath.DefaultPinDir)) })
	serveAll(t, server)
	expect(t, "no policy", client, server, true)
	kill := startAgent(t, client, server)
	expect(t, "policy", client, server, false)
	kill()
	expect(t, "agent killed", client, server, false)
	links, err := filepath.Glob(filepath.Join(datapath.DefaultPinDir, "*-4"))
	if err != nil || len(links) == 0 {
		t.Errorf("no links pinned in %s: %v", datapath.DefaultPinDir, err)
	}
	d, err := datapath.Open(datapath.Config{})
	must(t, err)
	want := update(0, 0)
	if g, digest := d.Generation(); !d.Adopted() || g != want.Generation || digest != want.Digest {
		t.Errorf("adopted %t generation %v digest %v, want generation %v digest %v", d.Adopted(), g, digest, want.Generation, want.Digest)
	}
	must(t, d.Uninstall())
	expect(t, "uninstalled", client, server, true)
	if _, err := os.Stat(datapath.DefaultPinDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after uninstalling: %v", datapath.DefaultPinDir, err)
	}
}

// expect dials with every protocol and family at both ports. How long silence at the
// closed port is listened to follows from how long answers of the open one took:
// other work on the machine slows the guest down.
func expect(t *testing.T, when string, client, server *pod, closedOpens bool) {
	t.Helper()
	begin := time.Now()
	dialAll(client, server, openPort, unhurried, func(who string, err error) {
		if err != nil {
			t.Errorf("%s: %s to port %d: %v", when, who, openPort, err)
		}
	})
	patience := unhurried
	if !closedOpens {
		patience = 2*time.Second + 4*time.Since(begin)
	}
	dialAll(client, server, closedPort, patience, func(who string, err error) {
		if closedOpens && err != nil || !closedOpens && !errors.Is(err, errSilence) {
			t.Errorf("%s: %s to port %d: %v", when, who, closedPort, err)
		}
	})
	t.Logf("%s: tcp and sctp over ipv4 and ipv6: want port %d open, port %d open=%t", when, openPort, closedPort, closedOpens)
}

// dialAll dials with every protocol and family at once.
func dialAll(client, server *pod, port int, patience time.Duration, then func(who string, err error)) {
	var wg sync.WaitGroup
	for proto, number := range protocols {
		for name, family := range families {
			wg.Go(func() { then(proto+" over "+name, client.dial(family, number, server, port, patience)) })
		}
	}
	wg.Wait()
}
