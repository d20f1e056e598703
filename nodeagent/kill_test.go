package nodeagent

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/vishvananda/netns"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/test/poll"
)

const (
	pinMount = "/sys/fs/bpf"
	agentURL = "http://127.0.0.1:9444"
)

// agentProcess is the agent of TestKilled.
func agentProcess(state string) {
	log := funcr.New(func(prefix, args string) { fmt.Fprintln(os.Stderr, prefix, args) }, funcr.Options{})
	err := Run(context.Background(), Config{
		Node: node, Log: log, StateDir: state, RunDir: filepath.Join(state, "run"),
		Host: host.Default(pinMount + "/palisade"), KeysFiles: []string{filepath.Join(state, "keys")}, HTTP: "127.0.0.1:9444",
		Open: func() (Datapath, error) {
			return OpenDatapath(datapath.Config{PinDir: pinMount + "/palisade"}, log)
		},
		Looker: facts.Finder{Proc: "/proc", Named: []string{"/run/netns"}, ByAddress: true},
	})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func sh(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-euc", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// twoPods makes namespaces a and b on a bridge of this one.
func twoPods(t *testing.T) {
	t.Helper()
	sh(t, `mount -t tmpfs tmpfs /run; mount -t bpf bpf `+pinMount+`; mkdir -p /run/netns
ip link add br0 type bridge; ip addr add 10.5.0.1/24 dev br0; ip link set br0 up
for p in a:10.5.0.11 b:10.5.0.12; do
  n=${p%:*}; ip netns add $n; ip -n $n link set lo up
  ip link add v-$n type veth peer name eth0 netns $n
  ip link set v-$n master br0 up
  ip -n $n addr add ${p#*:}/24 dev eth0; ip -n $n link set eth0 up
done`)
}

// in runs f on a thread of a named namespace; the thread ends with it.
func in(t *testing.T, name string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		ns, err := netns.GetFromName(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func serveIn(t *testing.T, name string) {
	t.Helper()
	in(t, name, func() {
		l, err := net.Listen("tcp4", ":8080")
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
	})
}

// connect checks that a pod can, or cannot, open a connection. What must be opened has
// time, on a machine that is busy with other things.
func connect(t *testing.T, when, from, to string, want bool) {
	t.Helper()
	patience := 500 * time.Millisecond
	if want {
		patience = 10 * time.Second
	}
	in(t, from, func() {
		c, err := net.DialTimeout("tcp4", to+":8080", patience)
		if err == nil {
			c.Close()
		}
		if (err == nil) != want {
			t.Errorf("%s: %s to %s: %v, want a connection: %t", when, from, to, err, want)
		}
	})
}

func startAgent(t *testing.T, state string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PALISADE_AGENT="+state)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // it may be gone
	_ = cmd.Wait()
}

// Enforcement outlives an agent that is killed, and one that finds its disk damaged;
// the next good one goes on from there.
func TestKilled(t *testing.T) {
	if !isolated(t) {
		return
	}
	twoPods(t)
	serveIn(t, "a")
	serveIn(t, "b")
	rows := rowtest.New(node, "10.5.0.0/24")
	open := rows.Program(rows.Allow("open"))
	closed := rows.Program(rows.Deny("closed"))
	always := func(p snapshot.ProgramID) func(func(string) bool) snapshot.ProgramID {
		return func(func(string) bool) snapshot.ProgramID { return p }
	}
	in4, eg4 := rows.Ruleset("in", false, nil, always(open)), rows.Ruleset("out", true, nil, always(open))
	shut := rows.Ruleset("shut", false, nil, always(closed))
	rows.Subject("free", in4, eg4)
	rows.Subject("shut", shut, eg4)
	rows.Local("a", "free")
	rows.Local("b", "shut")
	rows.Address("10.5.0.11", "free", "a")
	rows.Address("10.5.0.12", "shut", "b")

	state := t.TempDir()
	set := rows.Set()
	c, sig := commitOf(3, set, signingKey)
	disk := store.NewSnapshots(state)
	if err := disk.Propose(&snapshot.File{Commit: c, Signature: sig, Set: set}, nil); err != nil {
		t.Fatal(err)
	}
	if err := disk.Accept(); err != nil {
		t.Fatal(err)
	}
	text, err := newBench(t).keys.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Replace(filepath.Join(state, "keys"), text); err != nil {
		t.Fatal(err)
	}
	connect(t, "before anything is enforced", "a", "10.5.0.12", true)
	connect(t, "before anything is enforced", "b", "10.5.0.11", true)
	holds := func(when string) {
		t.Helper()
		connect(t, when, "a", "10.5.0.12", false)
		connect(t, when, "b", "10.5.0.11", true)
	}
	ready := func() bool { code, _ := get(t, agentURL+"/readyz"); return code == 200 }

	agent := startAgent(t, state)
	poll.Holds(t, "ready", ready)
	holds("with an agent")
	kill(agent)
	holds("after kill -9")

	path := filepath.Join(state, "snapshot")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	agent = startAgent(t, state)
	poll.Holds(t, "the agent answers", func() bool { code, _ := get(t, agentURL+"/healthz"); return code == 200 })
	if ready() {
		t.Error("ready with a damaged disk and no controller")
	}
	holds("with a damaged disk")
	kill(agent)

	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	startAgent(t, state)
	poll.Holds(t, "ready again", ready)
	holds("with the next agent")
	if _, body := get(t, agentURL+"/status"); !strings.Contains(body, `"0.1.3"`) {
		t.Errorf("status: %s", body)
	}
}
