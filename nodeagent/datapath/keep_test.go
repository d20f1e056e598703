package datapath

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

// TestAudit: whatever somebody does to the kernel's half is found, told and mended.
func TestAudit(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	b.serveTCP(8080)
	l.apply(newState().protect("b", false, "c").build())
	audit := func(t *testing.T) (d Drift) {
		t.Helper()
		l.node.in(func() {
			var err error
			if d, err = l.dp.Audit(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return d
	}
	if d := audit(t); !d.Empty() {
		t.Fatalf("nothing was touched: %s", d)
	}
	tables := l.dp.engine.tables
	active, err := tables.Active()
	if err != nil {
		t.Fatal(err)
	}
	open := func(side int) func(t *testing.T) {
		return func(t *testing.T) {
			h := *tables.lines[side][0].Header()
			for i := range uint32(len(l.dp.engine.layout.Lines())) - h.RecordBase {
				var line bpf.Line
				line.Record().Answer = bpf.Answer{Enforced: uint32(bpf.RuleNobody)}
				tables.lines[side][h.RecordBase+i] = line
			}
		}
	}
	cases := []struct {
		name  string
		spoil func(t *testing.T)
		found func(Drift) bool
		open  bool // traffic was open meanwhile
	}{
		{"the side that judges", open(active), func(d Drift) bool { return d.Active > 0 }, true},
		{"the idle side", func(t *testing.T) { now, _ := tables.Active(); open(1 - now)(t) }, func(d Drift) bool { return d.Idle > 0 && d.Active == 0 }, false},
		{"the program", func(t *testing.T) {
			if err := l.dp.array.Delete(bpf.SlotVerdict); err != nil {
				t.Fatal(err)
			}
		}, func(d Drift) bool { return len(d.Programs) == 1 }, true},
		{"a pin", func(t *testing.T) {
			if err := os.Remove(l.config.pin("out-4")); err != nil {
				t.Fatal(err)
			}
		}, func(d Drift) bool { return len(d.Links) == 1 }, false},
		{"the pin of the programs", func(t *testing.T) {
			if err := os.Remove(l.config.pin(bpf.MapPrograms)); err != nil {
				t.Fatal(err)
			}
		}, func(d Drift) bool { return len(d.Links) == 1 }, false},
		{"a link", func(t *testing.T) {
			if err := l.dp.links["out-4"].Detach(); err != nil {
				t.Fatal(err)
			}
		}, func(d Drift) bool { return len(d.Links) == 1 }, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.spoil(t)
			can(t, "a to b meanwhile", a, b.v4, 8080, c.open)
			if d := audit(t); !c.found(d) || d.String() == "" {
				t.Errorf("found %+v", d)
			}
			can(t, "a to b after the audit", a, b.v4, 8080, false)
			if d := audit(t); !d.Empty() {
				t.Errorf("found again: %s", d)
			}
		})
	}
}

// TestGrowth: tables that are outgrown are replaced by bigger ones, and enforcement
// has no gap, nor after a restart.
func TestGrowth(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	b.serveTCP(8080)
	l.apply(newState().protect("b", false, "c").build())
	before := l.dp.engine.tables.Capacity()
	crowded := newState().protect("b", false, "c")
	for i := range 40_000 {
		crowded.Address(fmt.Sprintf("10.%d.%d.%d", 100+i>>16, i>>8&255, i&255), "a", fmt.Sprintf("uid-far-%d", i))
	}
	l.apply(crowded.build())
	if after := l.dp.engine.tables.Capacity(); after <= before {
		t.Fatalf("capacity %d lines, %d before", after, before)
	}
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "a to b, grown", a, at(b), 8080, false)
		can(t, "c to b, grown", c, at(b), 8080, true)
	})
	if dirs, _ := filepath.Glob(l.config.pin("tables-*")); len(dirs) != 1 {
		t.Errorf("pinned tables: %v", dirs)
	}
	if err := l.dp.Close(); err != nil {
		t.Fatal(err)
	}
	l.reopen()
	expect(t, "adopted", l.dp.Adopted(), true)
	can(t, "a to b, adopted", a, b.v4, 8080, false)
}

// TestLostArray: links that call an array that nobody can find any more, and that is
// empty for that, are replaced by links that call the new one.
func TestLostArray(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	b.serveTCP(8080)
	l.apply(newState().protect("b", false, "c").build())
	if err := errors.Join(os.Remove(l.config.pin(bpf.MapPrograms)), l.dp.Close()); err != nil {
		t.Fatal(err)
	}
	can(t, "a to b, the array lost", a, b.v4, 8080, true)
	l.reopen()
	expect(t, "adopted", l.dp.Adopted(), false)
	l.apply(newState().protect("b", false, "c").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "a to b, applied again", a, at(b), 8080, false)
		can(t, "c to b, applied again", c, at(b), 8080, true)
	})
	l.node.in(func() {
		if d, err := l.dp.Audit(t.Context()); err != nil || !d.Empty() {
			t.Errorf("drift %s, error %v", d, err)
		}
	})
}

// TestOtherFormat: an agent of another format replaces its predecessor's tables
// without a moment in which nothing judges.
func TestOtherFormat(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	b.serveTCP(8080)
	l.apply(newState().protect("b", false, "c").build())
	if err := l.dp.Close(); err != nil {
		t.Fatal(err)
	}
	// What this agent would find of a format that it does not know.
	dirs, err := filepath.Glob(l.config.pin("tables-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("pinned tables: %v %v", dirs, err)
	}
	if err := os.Mkdir(l.config.pin("tables-0-4096"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{bpf.MapSides, bpf.MapActive} {
		if err := os.Rename(filepath.Join(dirs[0], name), filepath.Join(l.config.pin("tables-0-4096"), name)); err != nil {
			t.Fatal(err)
		}
	}
	l.reopen()
	expect(t, "adopted", l.dp.Adopted(), false)
	can(t, "a to b, the predecessor judges", a, b.v4, 8080, false)
	can(t, "c to b, the predecessor judges", c, b.v4, 8080, true)
	l.apply(newState().protect("b", false, "a").build())
	can(t, "a to b, taken over", a, b.v4, 8080, true)
	can(t, "c to b, taken over", c, b.v4, 8080, false)
	if dirs, _ := filepath.Glob(l.config.pin("tables-*")); len(dirs) != 1 {
		t.Errorf("pinned tables: %v", dirs)
	}
}

// TestCrash: an agent that dies while it writes leaves a side that judges whole; a
// side that somebody damaged meanwhile is not continued, but replaced.
func TestCrash(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	b.serveTCP(8080)
	state := func() *rowtest.Builder { return newState().protect("b", false, "c").build() }
	l.apply(state())
	die := func(spoil func(tables *Tables, active int)) {
		t.Helper()
		tables := l.dp.engine.tables
		active, err := tables.Active()
		if err != nil {
			t.Fatal(err)
		}
		spoil(tables, active)
		if err := l.dp.Close(); err != nil {
			t.Fatal(err)
		}
		l.reopen()
	}
	die(func(tables *Tables, active int) {
		l.dp.engine.markDirty(1 - active)
		clear(tables.lines[1-active][bpf.HeaderLines:])
	})
	expect(t, "adopted after a death in the middle of writing", l.dp.Adopted(), true)
	can(t, "a to b", a, b.v4, 8080, false)
	l.apply(state())
	can(t, "a to b, applied again", a, b.v4, 8080, false)
	die(func(tables *Tables, active int) { tables.lines[active][len(l.dp.engine.layout.Lines())-1][0] ^= 1 })
	expect(t, "adopted with a damaged line", l.dp.Adopted(), false)
	if s := l.dp.Stats(); s.Damaged != 1 {
		t.Errorf("stats %+v", s)
	}
	can(t, "a to b, damaged elsewhere", a, b.v4, 8080, false)
	l.apply(state())
	can(t, "a to b, mended", a, b.v4, 8080, false)
}

// TestRefusalKeeps: a snapshot that cannot be applied changes nothing.
func TestRefusalKeeps(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	b.serveTCP(8080)
	l.apply(newState().protect("b", false, "c").build())
	broken := newState().build().Full()
	for i, e := range broken.Upserts {
		if e.Table == snapshot.TableProgram {
			broken.Upserts = append(broken.Upserts[:i:i], broken.Upserts[i+1:]...)
			break
		}
	}
	_, err := l.dp.Apply(t.Context(), layout.Update{Full: true, Generation: snapshot.Generation{Counter: 99}, Delta: broken, Facts: l.facts()})
	if !errors.Is(err, layout.ErrIncomplete) {
		t.Fatalf("error %v, want %v", err, layout.ErrIncomplete)
	}
	if g, _ := l.dp.Generation(); g.Counter != l.counter {
		t.Errorf("generation %s, want counter %d", g, l.counter)
	}
	can(t, "a to b", a, b.v4, 8080, false)
	if s := l.dp.Stats(); s.Refusals != 1 || s.Applies != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestFirstUpdateIsFull: what the kernel holds cannot be continued by a delta.
func TestFirstUpdateIsFull(t *testing.T) {
	l := newLab(t)
	l.open()
	if _, err := l.dp.Apply(t.Context(), layout.Update{}); !errors.Is(err, ErrNotFull) {
		t.Errorf("error %v, want %v", err, ErrNotFull)
	}
}

// TestJudgeInForce asks the tables in force, beside the packets.
func TestJudgeInForce(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	l.apply(newState().protect("b", false, "c:8080/tcp").build())
	got, err := l.dp.Judge([]Connection{{a.v4, b.v4, protoTCP, 8080}, {c.v6, b.v6, protoTCP, 8080}, {c.v4, b.v4, protoTCP, 81}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true} {
		if got[i].Ingress.Enforced.Deny != want {
			t.Errorf("question %d: %+v, want deny %v", i, got[i], want)
		}
	}
}

// TestStagedAndLogged: events of what a rule logs and of what staged policies would
// decide otherwise, with both answers, and the pairs that met.
func TestStagedAndLogged(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	b.serveTCP(8080)
	b.serveTCP(8081)
	s := newState()
	staged := s.Allow("logged")
	staged.Log, staged.StagedLog = true, true
	differs := snapshot.Answer{Rule: s.Rule("enforced"), StagedRule: s.Rule("staged"), StagedDeny: true}
	p := s.Program(staged, snapshot.Segment{Proto: protoTCP, Lo: 8081, Hi: 8081, Answer: differs})
	s.ingress["b"] = s.Ruleset("special", false, nil, func(func(string) bool) snapshot.ProgramID { return p })
	l.apply(s.build())
	r, err := l.dp.Events()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for port, want := range map[int]string{8080: "logged logged false", 8081: "enforced staged true"} {
		can(t, "a to b", a, b.v4, port, true)
		e, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %s %v", e.Ingress.Enforced.Row.Rule, e.Ingress.Staged.Row.Rule, e.Ingress.Staged.Deny)
		if got != want || e.Denied || e.State != StateNew || int(e.Server.Port()) != port || e.Server.Addr() != b.v4 || e.Client.Addr() != a.v4 || e.Interface != a.port {
			t.Errorf("port %d: %q in %+v, want %q", port, got, e, want)
		}
	}
	pairs, err := l.dp.Pairs()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]uint64{}
	for _, p := range pairs {
		found[fmt.Sprintf("%s %v %s", p.Subject.Name, p.Egress, p.Rule.Row.Rule)] += p.Connections
	}
	for _, want := range []string{"uid-b false logged", "uid-b false enforced"} {
		if found[want] != 1 {
			t.Errorf("pair %q: %d connections; all: %v", want, found[want], found)
		}
	}
	if again, err := l.dp.Pairs(); err != nil || len(again) != 0 {
		t.Errorf("pairs taken twice: %v %v", again, err)
	}
}

// TestEventLimit: a rule reports so many times a second, and the rest is counted.
func TestEventLimit(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	l.open()
	if err := l.dp.Uninstall(); err != nil {
		t.Fatal(err)
	}
	l.config.EventsPerSecond = 5
	l.reopen()
	l.apply(newState().protect("b", false).build())
	wire := a.packets()
	for range 50 {
		wire.send(t, frame(b.mac, a.mac, -1, udpPacket(a.v4, b.v4, 4000, 7000, "x")))
	}
	counters, err := l.dp.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counters {
		if c.Row.Rule == "isolated" && (c.Packets < 50 || c.Lost < 30) {
			t.Errorf("%d packets, %d events lost", c.Packets, c.Lost)
		}
	}
}

// TestProbeSays: each lack is one line that says what to do.
func TestProbeSays(t *testing.T) {
	needRoot(t)
	if os.Getenv("PALISADE_TEST_OPEN") != "" {
		_, err := Open(Config{PinDir: os.Getenv("PALISADE_TEST_OPEN")})
		fmt.Printf("error: %v\n", err)
		return
	}
	t.Run("no bpf file system", func(t *testing.T) {
		_, err := Open(Config{PinDir: filepath.Join(t.TempDir(), "pins")})
		if !errors.Is(err, ErrPinDir) || !strings.Contains(err.Error(), "mount -t bpf bpf") || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("not root", func(t *testing.T) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestProbeSays$")
		cmd.Env = append(os.Environ(), "PALISADE_TEST_OPEN=/sys/fs/bpf/none")
		// Root without capabilities: an ordinary user could not read the test binary.
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		if !strings.Contains(line, "not permitted") || !strings.Contains(line, "CAP_BPF") {
			t.Errorf("said %q", line)
		}
	})
	cases := map[string]struct {
		err  error
		want string
	}{
		"no netfilter programs": {fmt.Errorf("load program: %w", syscall.EINVAL), "CONFIG_NETFILTER_BPF_LINK"},
		"not supported":         {ebpf.ErrNotSupported, "Linux 6.4"},
		"refused":               {&ebpf.VerifierError{Cause: syscall.EACCES, Log: []string{"0: R1", "R2 invalid"}}, "R2 invalid"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := explain(c.err).Error(); !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("said %q, want %q in it", got, c.want)
			}
		})
	}
}

// TestKnownBuilders keeps the slow answers honest where a test of packets relies on them.
func TestKnownBuilders(t *testing.T) {
	s := newState().protect("b", false, "c:8080/tcp").build()
	var b *rowtest.Builder = s
	_, ingress := b.Judge(netip.MustParseAddr("10.1.0.13"), netip.MustParseAddr("10.1.0.12"), protoTCP, 8080)
	if ingress.Answer.Deny {
		t.Error("c to b:8080 is accepted")
	}
}
