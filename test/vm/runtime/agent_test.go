//go:build guest

package runtime

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/inside"
)

// agent is the node's agent, as the DaemonSet runs it. No controller answers: it
// takes what is on its disk, signed by a key that it trusts.
type agent struct {
	t       *testing.T
	dir     string
	private ed25519.PrivateKey
	counter uint64
	cmd     *exec.Cmd
	ended   chan error
}

const (
	agentAddress = "127.0.0.1:9444"
	statusURL    = "http://" + agentAddress + "/status"
)

// newAgent prepares one with its state below dir, new or as another one left it.
func newAgent(t *testing.T, dir string) *agent {
	t.Helper()
	a := &agent{t: t, dir: dir}
	for _, d := range []string{a.state(), a.trust()} {
		must(t, os.MkdirAll(d, 0o700))
	}
	seed, err := os.ReadFile(a.seedFile())
	if errors.Is(err, os.ErrNotExist) {
		seed = make([]byte, ed25519.SeedSize) // nobody attacks the signature here
		err = os.WriteFile(a.seedFile(), seed, 0o600)
	}
	must(t, err)
	a.private = ed25519.NewKeyFromSeed(seed)
	keys := snapshot.NewKeys(a.private.Public().(ed25519.PublicKey))
	text, err := keys.MarshalText()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(a.trust(), "signing-keys"), text, 0o600))
	t.Cleanup(func() {
		a.stop()
		must(t, datapath.Remove(datapath.DefaultPinDir))
	})
	return a
}

func (a *agent) state() string    { return filepath.Join(a.dir, "state") }
func (a *agent) trust() string    { return filepath.Join(a.dir, "trust") }
func (a *agent) seedFile() string { return filepath.Join(a.dir, "seed") }
func (a *agent) records() string  { return filepath.Join(a.dir, "records.jsonl") }

// give puts what manifests say on the disk of an agent that does not run.
func (a *agent) give(manifests string) snapshot.Generation {
	a.t.Helper()
	c := compile(a.t, manifests)
	set := snapshot.Union(c.Nodes[Node], c.Common)
	a.counter++
	commit := snapshot.Commit{
		Node: Node, Format: snapshot.Format, Generation: snapshot.Generation{Epoch: 1, Term: 1, Counter: a.counter}, Digest: set.Digest(),
	}
	must(a.t, os.RemoveAll(a.state()))
	must(a.t, os.MkdirAll(a.state(), 0o700))
	disk := store.NewSnapshots(a.state())
	must(a.t, disk.Propose(&snapshot.File{Commit: commit, Signature: snapshot.Sign(a.private, commit), Set: set}, nil))
	must(a.t, disk.Accept())
	return commit.Generation
}

// start runs the agent until it enforces a generation.
func (a *agent) start(want snapshot.Generation) {
	a.t.Helper()
	a.begin()
	a.await(want)
}

// await waits until the agent that was begun enforces a generation.
func (a *agent) await(want snapshot.Generation) {
	a.t.Helper()
	poll.Pace{Every: 200 * time.Millisecond, For: 8 * time.Minute}.Until(a.t, "the agent enforces "+want.String(), func() error {
		select {
		case err := <-a.ended:
			a.ended <- err
			a.t.Fatalf("the agent ended: %v", err)
		default:
		}
		s, err := status()
		if err == nil && s.Generation != want.String() {
			err = fmt.Errorf("generation %s", s.Generation)
		}
		return err
	})
}

// last is the generation on the agent's disk.
func (a *agent) last() snapshot.Generation {
	a.t.Helper()
	keys := snapshot.NewKeys(a.private.Public().(ed25519.PublicKey))
	files, err := store.NewSnapshots(a.state()).Load(keys)
	must(a.t, err)
	if len(files) == 0 {
		a.t.Fatalf("nothing in %s", a.state())
	}
	return files[0].Commit.Generation
}

// begin starts the agent's process.
func (a *agent) begin() {
	a.t.Helper()
	a.cmd = exec.Command(inside.Agent, "run", "--node="+Node, "--controller=127.0.0.1:1", "--trust-dir="+a.trust(), "--state-dir="+a.state(),
		"--api-dir=", "--run-dir="+filepath.Join(a.dir, "run"), "--guard-start=false", "--http="+agentAddress, "--flow-log="+a.records(),
		"--runtime-backend="+cmp.Or(os.Getenv(BackendVariable), "auto"))
	log, err := os.OpenFile(filepath.Join(a.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(a.t, err)
	defer log.Close()
	a.cmd.Stdout, a.cmd.Stderr = log, log
	must(a.t, a.cmd.Start())
	a.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(a.cmd, a.ended)
}

// stop kills the agent. What it enforced stays.
func (a *agent) stop() {
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Kill() // it may have ended
	<-a.ended
	a.cmd = nil
	if a.t.Failed() {
		log, err := os.ReadFile(filepath.Join(a.dir, "log"))
		a.t.Logf("the agent's log, %v:\n%s", err, tail(string(log), 40))
		records, err := os.ReadFile(a.records())
		a.t.Logf("records, %v:\n%s", err, tail(string(records), 6))
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func status() (s nodeagent.Status, err error) {
	client := http.Client{Timeout: 5 * time.Second}
	r, err := client.Get(statusURL)
	if err != nil {
		return s, err
	}
	defer r.Body.Close()
	return s, json.NewDecoder(r.Body).Decode(&s)
}

// enforce brings manifests into force: a stopped agent gets them and is started.
func (a *agent) enforce(manifests string) {
	a.t.Helper()
	a.stop()
	a.start(a.give(manifests))
}
