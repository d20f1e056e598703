package nodeagent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
)

// shutB is a state where pod b is isolated, by the rule closed, and pod a is not.
func shutB() *snapshot.Set {
	return stateOfB(func(r *rowtest.Builder) snapshot.Answer { return r.Deny("closed") })
}

// openB is a state where nobody is isolated, b by a rule of its own.
func openB(rule string) *snapshot.Set {
	return stateOfB(func(r *rowtest.Builder) snapshot.Answer { return r.Allow(rule) })
}

func stateOfB(answer func(*rowtest.Builder) snapshot.Answer) *snapshot.Set {
	rows := rowtest.New(node, "10.5.0.0/24")
	always := func(p snapshot.ProgramID) func(func(string) bool) snapshot.ProgramID {
		return func(func(string) bool) snapshot.ProgramID { return p }
	}
	open, ofB := rows.Program(rows.Allow("open")), rows.Program(answer(rows))
	out := rows.Ruleset("out", true, nil, always(open))
	rows.Subject("free", rows.Ruleset("in", false, nil, always(open)), out)
	rows.Subject("shut", rows.Ruleset("shut", false, nil, always(ofB)), out)
	rows.Local("a", "free")
	rows.Local("b", "shut")
	rows.Address("10.5.0.11", "free", "a")
	rows.Address("10.5.0.12", "shut", "b")
	return rows.Set()
}

// leave leaves on disk what an agent left: a snapshot and the keys that signed it.
func leave(t *testing.T, state string, set *snapshot.Set) {
	t.Helper()
	c, sig := commitOf(3, set, signingKey)
	disk := store.NewSnapshots(state)
	text, err := snapshot.NewKeys(signingKey.Public().(ed25519.PublicKey)).MarshalText()
	if err := errors.Join(err, disk.Propose(&snapshot.File{Commit: c, Signature: sig, Set: set}, nil), disk.Accept(), store.Replace(filepath.Join(state, keysCopy), text)); err != nil {
		t.Fatal(err)
	}
}

func boot(state string) (snapshot.Commit, error) {
	return Boot(context.Background(), Config{
		Log: logr.Discard(), StateDir: state, Host: host.Default(pinMount + "/palisade"),
		Open: func() (Datapath, error) {
			return OpenDatapath(datapath.Config{PinDir: pinMount + "/palisade", Layout: layout.Options{Unbound: layout.UnboundDeny}}, logr.Discard())
		},
	})
}

// A node boots: there are no pins and no agent, and a snapshot is on disk. It is in
// force when Boot returned, with no process behind it.
func TestBoot(t *testing.T) {
	if !isolated(t) {
		return
	}
	twoPods(t)
	serveIn(t, "a")
	serveIn(t, "b")
	state := t.TempDir()
	pinned := func() bool { _, err := os.Stat(pinMount + "/palisade"); return err == nil }
	open := func(when string) {
		t.Helper()
		connect(t, when, "a", "10.5.0.12", true)
		if pinned() {
			t.Errorf("%s: something is pinned", when)
		}
	}
	if _, err := boot(state); !errors.Is(err, ErrNothingOnDisk) {
		t.Errorf("nothing on disk: %v", err)
	}
	leave(t, state, set(node, "a")) // it does not say what holds for a
	if _, err := boot(state); !errors.Is(err, layout.ErrIncomplete) {
		t.Errorf("incomplete: %v", err)
	}
	open("incomplete")
	leave(t, state, shutB())
	path := filepath.Join(state, "snapshot")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boot(state); err == nil || errors.Is(err, ErrNothingOnDisk) || !strings.Contains(err.Error(), "snapshot") {
		t.Errorf("damaged: %v", err)
	}
	open("damaged")
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if g, ok := BootedInto(state); ok {
		t.Errorf("booted into %s already", g)
	}
	unlock, err := LockState(state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := boot(state); !errors.Is(err, ErrLocked) {
		t.Errorf("beside an agent: %v", err)
	}
	unlock()
	open("beside an agent")

	for range 2 { // a second time it adopts
		c, err := boot(state)
		if err != nil || c.Node != node || c.Generation.Counter != 3 {
			t.Fatalf("booted into %v, %v", c, err)
		}
		connect(t, "booted", "a", "10.5.0.12", false)
		connect(t, "booted", "b", "10.5.0.11", true)
	}
	if g, ok := BootedInto(state); !ok || g != "0.1.3" {
		t.Errorf("booted into %q, %t", g, ok)
	}
	// An address of the pod ranges of which nobody is known.
	sh(t, "ip -n b addr add 10.5.0.99/24 dev eth0")
	connect(t, "an address that nobody has", "a", "10.5.0.99", false)
	if err := datapath.Remove(pinMount + "/palisade"); err != nil {
		t.Fatal(err)
	}
	open("removed")
}

// The mark of another boot says nothing of this one.
func TestBootMark(t *testing.T) {
	for name, text := range map[string]string{
		"another boot": `{"boot":"11111111-2222","generation":"0.1.3"}`,
		"damaged":      `{"boot":`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, bootFile), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if g, ok := BootedInto(dir); ok {
				t.Errorf("booted into %q", g)
			}
		})
	}
}

func TestBootProtection(t *testing.T) {
	for name, tc := range map[string]struct {
		p     Protection
		holds bool
		want  []string
	}{
		"none":      {Protection{}, false, []string{"install-cni", "install-boot"}},
		"plugin":    {Protection{Chained: true}, true, []string{"the CNI plugin is chained"}},
		"next boot": {Protection{Unit: true}, true, []string{host.UnitName + " is enabled", "install-cni"}},
		"this boot": {Protection{Unit: true, Booted: "0.1.3"}, true, []string{"generation 0.1.3 into force at boot", "install-cni"}},
		"both":      {Protection{Chained: true, Unit: true, Booted: "0.1.3"}, true, []string{"the CNI plugin is chained", "0.1.3"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.SetGuarded(tc.p)
			c := b.Status().Conditions[2]
			if c.Type != "BootProtected" || c.Holds != tc.holds {
				t.Errorf("condition %+v", c)
			}
			for _, want := range tc.want {
				if !strings.Contains(c.Message, want) {
					t.Errorf("%q lacks %q", c.Message, want)
				}
			}
			if strings.Contains(c.Message, "install-cni") == tc.p.Chained {
				t.Errorf("%q, and the plugin is chained: %t", c.Message, tc.p.Chained)
			}
		})
	}
}
