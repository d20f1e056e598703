package nodeagent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/nodeagent/stream"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// TestMain is also the agent that TestKilled kills.
func TestMain(m *testing.M) {
	if state := os.Getenv("PALISADE_AGENT"); state != "" {
		agentProcess(state)
	}
	goleak.VerifyTestMain(m)
}

const node = "n1"

var (
	signingKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	otherKey   = ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
)

// kernel keeps what it was told as rows; it can refuse.
type kernel struct {
	mu     sync.Mutex // of what Apply writes, for tests that look while an agent runs
	set    *snapshot.Set
	facts  []layout.Binding
	gen    snapshot.Generation
	digest snapshot.Digest
	refuse error
	forgot bool // until the next full update
	calls  int
}

func (k *kernel) Generation() (snapshot.Generation, snapshot.Digest) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gen, k.digest
}

func (k *kernel) Apply(_ context.Context, u layout.Update) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	if k.refuse != nil {
		return k.refuse
	}
	if k.forgot && !u.Full {
		return datapath.ErrNotFull
	}
	k.forgot = false
	if u.Full {
		k.set = snapshot.NewSet()
	}
	k.set.Apply(u.Delta)
	if k.set.Digest() != u.Digest {
		return fmt.Errorf("kernel was led to %s, told %s", k.set.Digest(), u.Digest)
	}
	k.gen, k.digest, k.facts = u.Generation, u.Digest, u.Facts
	return nil
}

type bench struct {
	*Agent
	kernel *kernel
	facts  *facts.Store
	dir    string
	keys   snapshot.Keys
}

func newBench(t *testing.T) *bench { t.Helper(); return restart(t, t.TempDir(), &kernel{}) }

// restart is an agent that finds a state directory and a kernel.
func restart(t *testing.T, dir string, k *kernel) *bench {
	t.Helper()
	f, err := facts.Open(filepath.Join(dir, "facts.json"), facts.Epoch{Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{kernel: k, facts: f, dir: dir, keys: snapshot.NewKeys(signingKey.Public().(ed25519.PublicKey))}
	b.Agent = New(Options{
		Node: node, Log: logr.Discard(), Kernel: k, Facts: f, Disk: store.NewSnapshots(dir), Now: time.Now,
		Keys: func() (snapshot.Keys, error) { return b.keys, nil },
	})
	return b
}

func set(node string, pods ...string) *snapshot.Set {
	s := snapshot.NewSet(snapshot.Encode(snapshot.MetaRow{Node: node}))
	for i, p := range pods {
		s.Put(snapshot.Encode(snapshot.LocalRow{UID: p, Namespace: "shop", Name: p}))
		s.Put(snapshot.Encode(snapshot.AddressRow{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), UID: p, Namespace: "shop", Name: p}))
	}
	return s
}

func commitOf(counter uint64, s *snapshot.Set, key ed25519.PrivateKey) (snapshot.Commit, snapshot.Signature) {
	c := snapshot.Commit{Node: node, Format: snapshot.Format, Generation: snapshot.Generation{Term: 1, Counter: counter}, Digest: s.Digest()}
	return c, snapshot.Sign(key, c)
}

func full(counter uint64, s *snapshot.Set) *wire.Transfer {
	c, sig := commitOf(counter, s, signingKey)
	return &wire.Transfer{Delta: snapshot.Diff(snapshot.NewSet(), s), Commit: c, Signature: sig}
}

func delta(counter uint64, from, to *snapshot.Set) *wire.Transfer {
	t := full(counter, to)
	base := from.Digest()
	t.Base, t.Delta = &base, snapshot.Diff(from, to)
	return t
}

func (b *bench) mustApply(t *testing.T, tr *wire.Transfer) {
	t.Helper()
	if err := b.Apply(context.Background(), tr); err != nil {
		t.Fatal(err)
	}
}

func TestApplyFullThenDelta(t *testing.T) {
	b := newBench(t)
	one, two := set(node, "a"), set(node, "a", "b")
	if _, ok := b.Held(); ok {
		t.Error("holds something at the start")
	}
	b.mustApply(t, full(1, one))
	b.mustApply(t, delta(2, one, two))
	if h, ok := b.Held(); !ok || h.Digest != two.Digest() || b.kernel.digest != two.Digest() || h.Generation.Counter != 2 {
		t.Errorf("held %v, kernel %s, want %s", h, b.kernel.digest, two.Digest())
	}
	again := restart(t, b.dir, &kernel{})
	if ok, err := again.Recover(context.Background()); !ok || err != nil || again.kernel.digest != two.Digest() {
		t.Errorf("after a reboot: %t, %v, kernel %s", ok, err, again.kernel.digest)
	}
}

// A kernel's half that cannot continue what it has gets all rows, for a delta and
// for facts alone, and nobody has to send them again.
func TestForgotten(t *testing.T) {
	b := newBench(t)
	one, two := set(node, "a"), set(node, "a", "b")
	b.mustApply(t, full(1, one))
	b.kernel.forgot, b.kernel.set = true, snapshot.NewSet()
	b.mustApply(t, delta(2, one, two))
	if b.kernel.set.Digest() != two.Digest() {
		t.Errorf("after a delta: kernel %s, want %s", b.kernel.set.Digest(), two.Digest())
	}
	b.kernel.forgot, b.kernel.set = true, snapshot.NewSet()
	if err := b.applyFacts(context.Background()); err != nil || b.kernel.set.Digest() != two.Digest() || b.kernel.gen.Counter != 2 {
		t.Errorf("after facts: %v, kernel %s at %s, want %s", err, b.kernel.set.Digest(), b.kernel.gen, two.Digest())
	}
}

// Whatever is refused leaves kernel, disk and memory as they were, and the next
// good transfer is taken.
func TestRefusals(t *testing.T) {
	one, two, three := set(node, "a"), set(node, "a", "b"), set(node, "c")
	sign := func(tr *wire.Transfer) *wire.Transfer {
		tr.Signature = snapshot.Sign(signingKey, tr.Commit)
		return tr
	}
	tests := map[string]struct {
		kernel error
		make   func() *wire.Transfer
		reason string
	}{
		"unsigned": {nil, func() *wire.Transfer { tr := full(9, two); tr.Signature = snapshot.Signature{}; return tr }, wire.ReasonSignature},
		"unknown key": {nil, func() *wire.Transfer {
			tr := full(9, two)
			tr.Signature = snapshot.Sign(otherKey, tr.Commit)
			return tr
		}, wire.ReasonSignature},
		"commit altered": {nil, func() *wire.Transfer { tr := full(9, two); tr.Commit.Generation.Counter++; return tr }, wire.ReasonSignature},
		"content altered": {nil, func() *wire.Transfer {
			tr := full(9, two)
			tr.Delta = snapshot.Diff(snapshot.NewSet(), three)
			return tr
		}, wire.ReasonDamaged},
		"delta incomplete": {nil, func() *wire.Transfer {
			tr := delta(9, one, two)
			tr.Delta.Upserts = tr.Delta.Upserts[1:]
			return tr
		}, wire.ReasonDamaged},
		"another node's": {nil, func() *wire.Transfer { return full(9, set("n2", "a")) }, wire.ReasonDamaged},
		"replayed":       {nil, func() *wire.Transfer { return full(4, two) }, wire.ReasonReplay},
		"same number":    {nil, func() *wire.Transfer { return full(5, two) }, wire.ReasonReplay},
		"older term": {nil, func() *wire.Transfer {
			tr := full(99, two)
			tr.Commit.Generation.Term = 0
			return sign(tr)
		}, wire.ReasonReplay},
		"other base":    {nil, func() *wire.Transfer { return delta(9, three, two) }, wire.ReasonBase},
		"other format":  {nil, func() *wire.Transfer { tr := full(9, two); tr.Commit.Format = 2; return sign(tr) }, wire.ReasonFormat},
		"no room":       {fmt.Errorf("segments: %w", layout.ErrCapacity), func() *wire.Transfer { return delta(9, one, two) }, wire.ReasonCapacity},
		"no room, full": {fmt.Errorf("segments: %w", layout.ErrCapacity), func() *wire.Transfer { return full(9, two) }, wire.ReasonCapacity},
		"incomplete":    {fmt.Errorf("cell: %w", layout.ErrIncomplete), func() *wire.Transfer { return delta(9, one, two) }, wire.ReasonDamaged},
		"kernel":        {errors.New("EPERM"), func() *wire.Transfer { return delta(9, one, two) }, wire.ReasonKernel},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustApply(t, full(5, one))
			b.kernel.refuse = tc.kernel
			err := b.Apply(context.Background(), tc.make())
			var r *stream.Refusal
			if !errors.As(err, &r) || r.Reason != tc.reason || r.Err == nil {
				t.Fatalf("err = %v, want reason %s", err, tc.reason)
			}
			h, _ := b.Held()
			if b.kernel.digest != one.Digest() || h.Digest != one.Digest() || b.holding.set.Digest() != one.Digest() {
				t.Errorf("kernel %s, held %s, rows %s; want all %s", b.kernel.digest, h.Digest, b.holding.set.Digest(), one.Digest())
			}
			again := restart(t, b.dir, &kernel{})
			if ok, err := again.Recover(context.Background()); !ok || err != nil || again.kernel.digest != one.Digest() {
				t.Errorf("on disk: %t, %v, %s", ok, err, again.kernel.digest)
			}
			b.kernel.refuse = nil
			b.mustApply(t, delta(10, one, two))
		})
	}
}

// Between the flip and the rename of the file the agent may die: the candidate
// is what the kernel enforces, and it is found.
func TestCrashAfterFlip(t *testing.T) {
	b := newBench(t)
	one, two := set(node, "a"), set(node, "a", "b")
	b.mustApply(t, full(1, one))
	c, sig := commitOf(2, two, signingKey)
	if err := b.o.Disk.Propose(&snapshot.File{Commit: c, Signature: sig, Set: two}, nil); err != nil {
		t.Fatal(err)
	}
	b.kernel.gen, b.kernel.digest, b.kernel.set = c.Generation, c.Digest, two
	again := restart(t, b.dir, b.kernel)
	if ok, err := again.Recover(context.Background()); !ok || err != nil {
		t.Fatalf("recover: %t, %v", ok, err)
	}
	if h, _ := again.Held(); h.Digest != two.Digest() {
		t.Errorf("held %v, want the candidate", h)
	}
}

// A failure behind the flip is no refusal: the new generation judges.
func TestFailureBehindTheFlip(t *testing.T) {
	b := newBench(t)
	b.mustApply(t, full(1, set(node, "a")))
	two := full(2, set(node, "b"))
	b.kernel.gen, b.kernel.digest, b.kernel.refuse = two.Commit.Generation, two.Commit.Digest, errors.New("drain: EINTR")
	b.mustApply(t, two)
	if h, _ := b.Held(); h.Digest != two.Commit.Digest {
		t.Errorf("held %v", h)
	}
}

func TestDamagedDisk(t *testing.T) {
	b := newBench(t)
	one, two := set(node, "a"), set(node, "a", "b")
	b.mustApply(t, full(5, one))
	if err := os.WriteFile(filepath.Join(b.dir, "snapshot"), []byte("palisnap but not really"), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := b.kernel.calls
	again := restart(t, b.dir, b.kernel)
	ok, err := again.Recover(context.Background())
	if ok || !errors.Is(err, snapshot.ErrDamaged) || !strings.Contains(err.Error(), b.dir) {
		t.Errorf("recover: %t, %v", ok, err)
	}
	if b.kernel.calls != calls {
		t.Error("the kernel was touched")
	}
	if _, ok := again.Held(); ok {
		t.Error("claims to hold rows that it lost: it would never be sent them again")
	}
	if err := again.Apply(context.Background(), full(4, two)); err == nil {
		t.Error("an older generation than the kernel's was taken")
	}
	again.mustApply(t, full(5, one)) // the same again, whole
	again.mustApply(t, full(6, two))
}

// A controller that was installed anew has new keys and counts from the start.
// Where the old key is not trusted any more, its generations stand in no one's way.
func TestNewController(t *testing.T) {
	b := newBench(t)
	b.mustApply(t, full(70, set(node, "a")))
	first := full(1, set(node, "b"))
	first.Signature = snapshot.Sign(otherKey, first.Commit)
	old, fresh := signingKey.Public().(ed25519.PublicKey), otherKey.Public().(ed25519.PublicKey)

	b.keys = snapshot.NewKeys(old, fresh) // a rotation: one order goes on
	if err := b.Apply(context.Background(), first); err == nil {
		t.Error("an older generation was taken while the old key is trusted")
	}
	if _, ok := b.Held(); !ok {
		t.Error("does not say what it holds though the old key is trusted")
	}
	b.keys = snapshot.NewKeys(fresh)
	if _, ok := b.Held(); ok {
		t.Error("claims to hold what another controller signed: it would be sent nothing")
	}
	again := restart(t, b.dir, b.kernel)
	again.keys = snapshot.NewKeys(fresh)
	if ok, err := again.Recover(context.Background()); ok || !errors.Is(err, snapshot.ErrUnknownKey) {
		t.Errorf("recover: %t, %v", ok, err)
	}
	again.mustApply(t, first)
	if err := again.Apply(context.Background(), first); err != nil {
		t.Errorf("the same again: %v", err)
	}
	second := full(1, set(node, "c"))
	second.Signature = snapshot.Sign(otherKey, second.Commit)
	if err := again.Apply(context.Background(), second); err == nil {
		t.Error("the exception lasts")
	}
}

func TestRecoverFallsBack(t *testing.T) {
	b := newBench(t)
	one, two := set(node, "a"), set("n2", "a")
	b.mustApply(t, full(1, one))
	c, _ := commitOf(2, two, signingKey)
	c.Node = "n2"
	if err := b.o.Disk.Propose(&snapshot.File{Commit: c, Signature: snapshot.Sign(signingKey, c), Set: two}, nil); err != nil {
		t.Fatal(err)
	}
	again := restart(t, b.dir, &kernel{})
	ok, err := again.Recover(context.Background())
	if !ok || err == nil || !strings.Contains(err.Error(), `node "n2"`) || again.kernel.digest != one.Digest() {
		t.Errorf("recover: %t, %v, kernel %s", ok, err, again.kernel.digest)
	}
}

func TestFactsAreApplied(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.FollowFacts(ctx) }()
	defer func() { cancel(); <-done }()

	bind := func(uid string, addr string) facts.Revision {
		rev, err := b.facts.Bind(facts.Attachment{
			AttachmentID: facts.AttachmentID{Container: uid, IfName: "eth0"}, Pod: facts.Pod{UID: facts.PodUID(uid), Namespace: "shop", Name: "a"},
			Addrs: []netip.Addr{netip.MustParseAddr(addr)}, Host: facts.Interface{Name: "v", Index: 7}, Source: facts.FromCNI,
		})
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	rev := bind("a", "10.0.0.9")
	short, stop := context.WithTimeout(ctx, 30*time.Millisecond)
	defer stop()
	if err := b.facts.Wait(short, rev); !errors.Is(err, errNoSnapshot) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a snapshot: %v", err)
	}
	b.mustApply(t, full(1, set(node, "a")))
	if err := b.facts.Wait(ctx, rev); err != nil {
		t.Fatal(err)
	}
	gen := b.kernel.gen
	// A static pod is known to the runtime by a hash, to the cluster by a UID.
	rev = bind("0123456789abcdef0123456789abcdef", "10.0.0.8")
	if err := b.facts.Wait(ctx, rev); err != nil {
		t.Fatal(err)
	}
	b.applying.Lock()
	defer b.applying.Unlock()
	want := []layout.Binding{{Addr: netip.MustParseAddr("10.0.0.8"), UID: "a", Ifindex: 7}, {Addr: netip.MustParseAddr("10.0.0.9"), UID: "a", Ifindex: 7}}
	if fmt.Sprint(b.kernel.facts) != fmt.Sprint(want) || b.kernel.gen != gen {
		t.Errorf("kernel has %v of %s, want %v of %s", b.kernel.facts, b.kernel.gen, want, gen)
	}
}

func TestRulesAreRememberedForAWhile(t *testing.T) {
	b := newBench(t)
	rule := snapshot.RuleRow{ID: snapshot.RuleID{1}, Tier: 2, PolicyKind: 2, Namespace: "shop", Policy: "db", Rule: "x"}
	with := set(node, "a")
	with.Put(snapshot.Encode(rule))
	b.mustApply(t, full(1, with))
	b.mustApply(t, delta(2, with, set(node, "a")))
	if r, ok := b.holding.rule(rule.ID); !ok || r.Policy != "db" {
		t.Errorf("rule = %v, %t", r, ok)
	}
	b.mustApply(t, full(3, with))
	b.mustApply(t, full(4, set(node, "a")))
	if _, ok := b.holding.rule(rule.ID); !ok {
		t.Error("forgotten after a full transfer")
	}
}

func TestPodsListsAddresses(t *testing.T) {
	b := newBench(t)
	b.mustApply(t, full(1, set(node, "a", "b")))
	pods := b.holding.pods()
	if len(pods) != 2 || pods[1].Pod.Name != "b" || fmt.Sprint(pods[1].Addrs) != "[10.0.0.2]" {
		t.Errorf("pods = %+v", pods)
	}
}

func TestKeysAreCopied(t *testing.T) {
	dir := t.TempDir()
	k := Keys{Files: []string{filepath.Join(dir, "none"), filepath.Join(dir, "signing-keys")}, Copy: filepath.Join(dir, "copy")}
	if _, err := k.Load(); err == nil {
		t.Error("no file, no copy, no error")
	}
	text, err := snapshot.NewKeys(signingKey.Public().(ed25519.PublicKey)).MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.Files[1], text, 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := k.Load(); err != nil || len(keys) != 1 {
		t.Fatalf("keys = %v, %v", keys, err)
	}
	if err := os.Remove(k.Files[1]); err != nil {
		t.Fatal(err)
	}
	if keys, err := k.Load(); err != nil || len(keys) != 1 {
		t.Errorf("from the copy: %v, %v", keys, err)
	}
}
