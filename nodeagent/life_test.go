package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netlink"

	"palisade.dev/palisade/nodeagent/cni"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/test/poll"
)

// isolated runs the rest of the test in a process of its own, with network and
// mounts of its own: an agent changes its node, and this machine is none.
func isolated(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network and mount namespaces")
	}
	if os.Getenv("PALISADE_ISOLATED") == t.Name() {
		// The private mounts must not reach the machine's.
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "PALISADE_ISOLATED="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip(string(out))
	}
	return false
}

// path is a datapath whose kernel is a map.
type path struct {
	kernel
	flows    chan flows.Flow
	cutFails error
	left     []datapath.Departed
	closed   bool
}

func (p *path) Flows(ctx context.Context, _ *Agent, hub *flows.Hub) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-p.flows:
			hub.Publish(f)
		}
	}
}
func (p *path) Cut(context.Context) (int, error) { return 0, p.cutFails }
func (p *path) Count() ([]datapath.Pair, []datapath.Counter, error) {
	rule := datapath.Attribution{Row: snapshot.RuleRow{ID: snapshot.RuleID{9}, Tier: 2, PolicyKind: 2, Namespace: "shop", Policy: "db", Rule: "backend"}}
	rule.Rule = rule.Row.ID
	operations := datapath.Attribution{Row: snapshot.RuleRow{ID: snapshot.RuleID{8}, Tier: 2, PolicyKind: 4, Namespace: "shop", Policy: "db", Rule: "executables/shell"}}
	operations.Rule = operations.Row.ID
	return []datapath.Pair{{Subject: layout.Local{UID: "a"}, Rule: rule, Connections: 3}}, []datapath.Counter{{Attribution: rule, Packets: 5, Bytes: 300}, {Attribution: rule, Packets: 7, Bytes: 500}, {Attribution: operations, Packets: 2, Bytes: 3, Lost: 4}}, nil
}
func (p *path) Departed() []datapath.Departed                                      { return p.left }
func (p *path) CameIn([]datapath.Cell) (map[datapath.Cell]datapath.Traffic, error) { return nil, nil }
func (p *path) Audit(context.Context) (string, error)                              { return "", nil }
func (p *path) Close() error                                                       { p.closed = true; return nil }

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestRun(t *testing.T) {
	if !isolated(t) {
		return
	}
	defer http.DefaultClient.CloseIdleConnections()
	dir := t.TempDir()
	if err := syscall.Mount("bpf", dir+"/", "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	state, run := t.TempDir(), t.TempDir()
	b := restart(t, state, &kernel{})
	keys := b.keys
	text, err := keys.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Replace(filepath.Join(state, "keys"), text); err != nil {
		t.Fatal(err)
	}
	b.mustApply(t, full(7, set(node, "a"))) // what an agent of before left on disk

	dp := &path{flows: make(chan flows.Flow)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	c := Config{
		Node: node, Log: logr.Discard(), StateDir: state, RunDir: run,
		Host: host.Host{Proc: "/proc", Sys: "/sys", PinDir: dir + "/palisade"},
		Open: func() (Datapath, error) { return dp, nil }, KeysFiles: []string{filepath.Join(state, "keys")},
		Guard: func() (bool, error) { return true, nil }, HTTP: "127.0.0.1:9444", Looker: &looker{},
	}
	go func() { done <- Run(ctx, c) }()
	const url = "http://127.0.0.1:9444"
	poll.Holds(t, "ready", func() bool { code, _ := get(t, url+"/readyz"); return code == 200 })
	if g, _ := dp.Generation(); g.Counter != 7 {
		t.Errorf("the kernel enforces %s, not what was on disk", g)
	}
	if err := Run(ctx, c); !errors.Is(err, ErrLocked) {
		t.Errorf("a second agent: %v", err)
	}

	// A pod comes.
	call, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	lo, err := facts.LinkIndex("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := cni.Call(call, filepath.Join(run, "cni.sock"), cni.Request{
		Op: cni.OpAdd, Attachment: facts.AttachmentID{Container: "c", IfName: "eth0"}, Pod: facts.Pod{UID: "a", Namespace: "shop", Name: "a"},
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Host: lo,
	}); err != nil {
		t.Fatal(err)
	}

	// A connection is denied.
	go func() {
		dp.flows <- flows.Flow{Verdict: flows.Deny, To: flows.End{Addr: netip.MustParseAddr("10.0.0.1")}}
	}()
	var lines int
	follow, enough := context.WithCancel(call)
	if err := flows.Read(follow, filepath.Join(run, "flows.sock"), flows.Query{Last: 10, Follow: true}, func([]byte) error { lines++; enough(); return nil }); err != nil || lines != 1 {
		t.Errorf("flows: %d lines, %v", lines, err)
	}
	enough()

	_, metrics := get(t, url+"/metrics")
	for _, want := range []string{
		`palisade_nodeagent_generation_counter{epoch="0",term="1"} 7`, "palisade_nodeagent_addresses_bound 1",
		`palisade_nodeagent_rule_packets_total{policy="pnp/shop/db",rule="backend",tier="Namespace"} 12`,
		`palisade_nodeagent_rule_bytes_total{policy="pnp/shop/db",rule="backend",tier="Namespace"} 800`,
		`palisade_nodeagent_rule_operations_total{policy="rtp/shop/db",rule="executables/shell",tier="Namespace"} 2`,
		`palisade_nodeagent_rule_staged_operations_total{policy="rtp/shop/db",rule="executables/shell",tier="Namespace"} 3`,
		`palisade_nodeagent_rule_records_lost_total{policy="rtp/shop/db",rule="executables/shell",tier="Namespace"} 4`,
		`palisade_nodeagent_flow_records_total{result="published"} 1`, "palisade_nodeagent_controller_connected 0",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	_, body := get(t, url+"/status")
	var s Status
	if err := json.Unmarshal([]byte(body), &s); err != nil || s.Generation != "0.1.7" || len(s.Conditions) != 3 || !s.Conditions[0].Holds {
		t.Errorf("status %s, %v", body, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !dp.closed {
		t.Error("the datapath was not closed")
	}
	if _, err := net.Dial("unix", filepath.Join(run, "cni.sock")); err == nil {
		t.Error("the socket is still served")
	}
}

func TestRunRefusesHost(t *testing.T) {
	if !isolated(t) {
		return
	}
	err := Run(context.Background(), Config{
		Node: node, Log: logr.Discard(), StateDir: t.TempDir(), Host: host.Default(t.TempDir()),
		Open: func() (Datapath, error) { t.Error("opened"); return nil, nil },
	})
	if !errors.Is(err, ErrHost) || !strings.Contains(err.Error(), "mount -t bpf") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without a BPF file system: %v", err)
	}
}

func TestStandalone(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir, state := t.TempDir(), t.TempDir()
	if err := syscall.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	dp := &path{}
	s := &Standalone{
		Node: node, StateDir: state, Host: host.Default(dir), Looker: &looker{host: facts.Interface{Name: "v", Index: 3}},
		Open:       func() (Datapath, error) { return dp, nil },
		Interfaces: map[facts.PodUID]string{"b": "lo"},
	}
	plan, err := s.Plan(set(node, "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Pods) != 2 || len(plan.Delta.Upserts) != 5 {
		t.Errorf("plan: %d pods, %d rows", len(plan.Pods), len(plan.Delta.Upserts))
	}
	if es, err := os.ReadDir(state); err != nil || len(es) != 0 {
		t.Errorf("planning left %v, %v", es, err)
	}
	if c, err := plan.Apply(t.Context()); err != nil || c.Generation.Counter != 1 || dp.digest != set(node, "a", "b").Digest() || len(dp.facts) != 2 {
		t.Errorf("applied %v, %v; kernel %s with %v", c, err, dp.digest, dp.facts)
	}
	// An agent was here meanwhile.
	dp.gen = snapshot.Generation{Epoch: 1, Term: 4, Counter: 9}
	plan, err = s.Plan(set(node, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Delta.Deletes) != 2 || len(plan.Delta.Upserts) != 0 {
		t.Errorf("second plan: %v", plan.Delta)
	}
	if c, err := plan.Apply(t.Context()); err != nil || c.Generation.String() != "1.4.10" || len(dp.facts) != 1 {
		t.Errorf("applied %v, %v, facts %v", c, err, dp.facts)
	}

	// Nothing of a plan that the kernel refuses.
	was, kept := dp.digest, contents(t, state)
	dp.refuse = errors.New("no room")
	if plan, err = s.Plan(set(node, "b")); err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context()); err == nil || dp.digest != was {
		t.Errorf("refused: %v, kernel %s", err, dp.digest)
	}
	if now := contents(t, state); !maps.Equal(now, kept) {
		t.Errorf("a refusal changed the disk:\n%v\nwas\n%v", now, kept)
	}
	dp.refuse = nil
	if _, err := s.Plan(set(node, "c")); err == nil || !strings.Contains(err.Error(), "pod shop/c is said to be on this node, but no process") {
		t.Errorf("a pod that is nowhere: %v", err)
	}
	if _, err := s.Plan(set("n2")); err == nil {
		t.Error("another node's snapshot was planned")
	}
	if err := Forget(state); err != nil {
		t.Fatal(err)
	}
	if es, err := os.ReadDir(state); err != nil || len(es) != 1 { // the lock stays
		t.Errorf("left behind: %v, %v", es, err)
	}
}

// contents are the files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// judging is a datapath that judges what processes do by these means.
type judging struct {
	*path
	by      Sections
	refuses bool
}

// Apply finds out that the kernel refuses programs.
func (j *judging) Apply(ctx context.Context, u layout.Update) error {
	if j.refuses {
		j.by = Sections{runtime.Files: {Means: events.NoBackend, Detail: "refused"}}
	}
	return j.path.Apply(ctx, u)
}
func (j *judging) Backends() Sections                                   { return j.by }
func (j *judging) Operations(context.Context, *Agent, *flows.Hub) error { return nil }
func (j *judging) UnknownPods() string                                  { return "" }
func (j *judging) NetworkLacks() error                                  { return nil }
func (j *judging) Collectors() []prometheus.Collector                   { return nil }

// The first apply on a host leaves the host as it was where it fails.
func TestStandaloneIsAllOrNothing(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	pins := filepath.Join(dir, "palisade")
	// A /proc of our own: the sysctls of a bridge, as files.
	proc := t.TempDir()
	if err := os.MkdirAll(filepath.Join(proc, "sys/net/bridge"), 0o755); err != nil {
		t.Fatal(err)
	}
	setting := func(name string) string { return filepath.Join(proc, "sys/net/bridge", "bridge-nf-"+name) }
	reset := func() {
		for _, name := range []string{"call-iptables", "call-ip6tables", "filter-vlan-tagged", "filter-pppoe-tagged"} {
			if err := errors.Join(os.RemoveAll(setting(name)), os.WriteFile(setting(name), []byte("0"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		refuse, open, cut error
		cannotSet, allow  bool
		files             runtime.Backend // what the one rule about processes is judged by
		want              string          // of the error; empty: none
		inForce           bool
		warns             string
		refuses           bool // programs, when they are loaded
		prevent           bool // minimumBackend of the one policy
	}{
		"kernel refuses":    {refuse: errors.New("no room"), want: "no room"},
		"cannot be opened":  {open: errors.New("verifier says no"), want: "verifier says no"},
		"setting stays":     {cannotSet: true, want: "bridge-nf-call-iptables=1"},
		"setting, allowed":  {cannotSet: true, allow: true, inForce: true},
		"nothing was ended": {cut: errors.New("ctnetlink: EPERM"), want: "the policy is in force, but connections", inForce: true},
		"nobody judges":     {files: runtime.Backend{Means: events.NoBackend, Detail: "no\nLSM"}, want: "section files is not judged: no; LSM (this kernel, by none)"},
		"nobody, allowed":   {files: runtime.Backend{Means: events.NoBackend, Detail: "no LSM"}, allow: true, inForce: true, warns: "section files is not judged: no LSM"},
		"judged in part":    {files: runtime.Backend{Means: events.LSM, Unjudged: 1}, inForce: true, warns: "section files is not judged in full: cannot judge Read in every case"},
		"killed only":       {files: runtime.Backend{Means: events.Signal}, prevent: true, want: "although minimumBackend is Prevent: rtp/shop/p files/keys"},
		"killed, allowed":   {files: runtime.Backend{Means: events.Signal}, prevent: true, allow: true, inForce: true, warns: "although minimumBackend is Prevent"},
		"programs refused":  {refuses: true, inForce: true, want: "the policy is in force, but not whole", warns: "section files is not judged: refused"},
		"all well":          {files: runtime.Backend{Means: events.FmodRet, Detail: "no LSM"}, inForce: true},
	} {
		t.Run(name, func(t *testing.T) {
			reset()
			if tc.cannotSet {
				if err := errors.Join(os.Remove(setting("call-iptables")), os.Symlink("/dev/null", setting("call-iptables"))); err != nil {
					t.Fatal(err)
				}
			}
			state := t.TempDir()
			dp := &path{cutFails: tc.cut}
			dp.refuse = tc.refuse
			if tc.files.Means == "" {
				tc.files.Means = events.LSM
			}
			rows := set(node, "a")
			rows.Put(snapshot.Encode(snapshot.RuntimeRuleRow{ID: snapshot.RuleID{1}, Section: snapshot.SectionFiles, Action: snapshot.RuntimeDeny, Enforced: true, Staged: true}))
			rows.Put(snapshot.Encode(snapshot.RuleRow{ID: snapshot.RuleID{1}, PolicyKind: 4, Namespace: "shop", Policy: "p", Rule: "files/keys"}))
			s := &Standalone{
				MustPrevent: map[string]bool{"rtp/shop/p": tc.prevent},
				Node:        node, StateDir: state, Host: host.Host{Proc: proc, Sys: "/sys", PinDir: pins},
				Looker: &looker{host: facts.Interface{Name: "v", Index: 3}}, AllowBypass: tc.allow,
				Open: func() (Datapath, error) {
					return &judging{dp, Sections{runtime.Files: tc.files}, tc.refuses}, errors.Join(os.Mkdir(pins, 0o700), tc.open)
				},
			}
			plan, err := s.Plan(rows)
			if err != nil {
				t.Fatal(err)
			}
			_, err = plan.Apply(t.Context())
			if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("applied: %v, want %q", err, tc.want)
			}
			if (err == nil || errors.Is(err, ErrInForce)) != tc.inForce || (dp.digest == rows.Digest()) != tc.inForce {
				t.Errorf("error %v, kernel has %s; want it in force: %t", err, dp.digest, tc.inForce)
			}
			if found := host.Join(plan.Findings); !strings.Contains(found, tc.warns) || tc.inForce && tc.warns == "" && strings.Contains(found, "section files") {
				t.Errorf("findings %s, want %q", found, tc.warns)
			}
			_, pinned := os.Stat(pins)
			value, _ := os.ReadFile(setting("filter-vlan-tagged")) // empty where it cannot be read
			left := contents(t, state)
			if tc.inForce {
				if len(left) != 4 || pinned != nil || string(value) != "1" {
					t.Errorf("disk %v, pins %v, setting %q", left, pinned, value)
				}
				if err := os.Remove(pins); err != nil {
					t.Error(err)
				}
				if err := s.Host.Untrack(); err != nil {
					t.Error(err)
				}
				return
			}
			if len(left) != 1 || pinned == nil || string(value) != "0" { // the lock stays
				t.Errorf("left behind: disk %v, pins there: %t, setting %q", left, pinned == nil, value)
			}
			look := s.Host
			look.ReadOnly = true
			if !strings.Contains(host.Join(look.Prepare()), "table palisade is not set yet") {
				t.Error("connections are still tracked")
			}
		})
	}
}
