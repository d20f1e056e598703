//go:build guest

package inside

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
	"palisade.dev/palisade/test/poll"
)

// What is on the disk that outlives the guest.
const (
	stateDir = "/disk/state"
	trustDir = "/disk/trust"
)

// TestBeforeReboot: an agent brings a snapshot into force, as from a controller.
func TestBeforeReboot(t *testing.T) {
	client, server := node(t)
	serveAll(t, server)
	must(t, os.MkdirAll(stateDir, 0o700))
	must(t, os.MkdirAll(trustDir, 0o700))
	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	keys := snapshot.NewKeys(public)
	text, err := keys.MarshalText()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(trustDir, "signing-keys"), text, 0o600))
	epoch, err := facts.CurrentEpoch()
	must(t, err)
	f, err := facts.Open(filepath.Join(stateDir, "facts.json"), epoch)
	must(t, err)
	defer f.Close()
	d, err := nodeagent.OpenDatapath(datapath.Config{}, logr.Discard())
	must(t, err)
	defer d.Close()
	a := nodeagent.New(nodeagent.Options{
		Node: "guest", Log: logr.Discard(), Kernel: d, Facts: f, Disk: store.NewSnapshots(stateDir), Now: time.Now,
		Keys: nodeagent.Keys{Files: []string{filepath.Join(trustDir, "signing-keys")}, Copy: filepath.Join(stateDir, "signing-keys")}.Load,
	})
	b := rows()
	commit := snapshot.Commit{
		Node: "guest", Format: snapshot.Format, Generation: snapshot.Generation{Epoch: 1, Term: 1, Counter: 1}, Digest: b.Set().Digest(),
	}
	must(t, a.Apply(t.Context(), &wire.Transfer{Delta: b.Full(), Commit: commit, Signature: snapshot.Sign(private, commit)}))
	expect(t, "before the reboot", client, server, false)
}

// TestAfterReboot: the pins are gone with the old kernel. What is on the disk is brought
// into force by the host's unit, with no process behind it, and the agent goes on from
// there, though no controller answers; and by the agent where the unit did not run.
func TestAfterReboot(t *testing.T) {
	client, server := node(t)
	serveAll(t, server)
	if _, err := os.Stat(datapath.DefaultPinDir); err == nil {
		t.Fatalf("%s is there already", datapath.DefaultPinDir)
	}
	expect(t, "no agent yet", client, server, true)
	t.Run("the unit, then the agent", func(t *testing.T) {
		if out, err := exec.Command(Agent, "boot", "--state-dir="+stateDir).CombinedOutput(); err != nil {
			t.Fatalf("nodeagent boot: %v: %s", err, out)
		}
		expect(t, "booted, no agent yet", client, server, false)
		agentGoesOn(t)
		expect(t, "an agent took over", client, server, false)
	})
	t.Run("the agent alone", func(t *testing.T) {
		expect(t, "taken out", client, server, true)
		agentGoesOn(t)
		expect(t, "with an agent", client, server, false)
	})
}

// agentGoesOn starts an agent for the rest of the test and waits until it enforces.
func agentGoesOn(t *testing.T) {
	t.Helper()
	cmd := exec.Command(Agent, "run", "--node=guest", "--controller=127.0.0.1:1", "--trust-dir="+trustDir, "--state-dir="+stateDir,
		"--guard-start=false", "--http=", "--flow-log=")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended, which the test says
		<-ended
		must(t, datapath.Remove(datapath.DefaultPinDir))
	})
	poll.Pace{Every: 200 * time.Millisecond, For: 8 * time.Minute}.Until(t, "the agent enforces what is on the disk", func() error {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the agent ended: %v", err)
		default:
		}
		if _, text, code := command(t, Palisade, "host", "--node=guest", "--state-dir="+stateDir); code != 0 {
			return fmt.Errorf("palisade host: exit %d: %s", code, text)
		}
		return nil
	})
}

// serveAll answers at both ports with every protocol and family.
func serveAll(t *testing.T, server *pod) {
	t.Helper()
	for _, proto := range protocols {
		for _, family := range families {
			server.serve(t, family, proto, openPort)
			server.serve(t, family, proto, closedPort)
		}
	}
}
