package publish_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"palisade.dev/palisade/controllers/internal/fakeagent"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/controllers/trust"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
	"palisade.dev/palisade/test/poll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a store that is served on loopback.
type house struct {
	t        *testing.T
	store    *publish.Store
	tracker  *publish.Tracker
	material *trust.Material
	address  string
	term     atomic.Uint32
	epoch    atomic.Uint32
	ahead    atomic.Int64 // of the server's clock
	stop     context.CancelFunc
}

func newHouse(t *testing.T, store *publish.Store, material *trust.Material, term uint32) *house {
	t.Helper()
	h := &house{t: t, store: store, material: material}
	h.term.Store(term)
	h.tracker = publish.NewTracker(time.Now, func(model.NodeName, bool) {})
	server := &publish.Server{
		Store: store, Tracker: h.tracker, Material: func() *trust.Material { return h.material },
		Term:      func() (uint32, uint32) { return h.epoch.Load(), h.term.Load() },
		Identify:  func(_ context.Context, token string) (string, error) { return identify(token) },
		Addresses: []net.IP{net.IPv4(127, 0, 0, 1)}, Version: "test", RetryRefused: 50 * time.Millisecond, Log: testr.New(t),
		Now: func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }, CheckSigner: 5 * time.Millisecond,
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	var stopped bool
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(h.stop)
	return h
}

func identify(token string) (string, error) {
	if node, ok := map[string]string{"token-a": "node-a", "token-b": "node-b"}[token]; ok {
		return node, nil
	}
	return "", fmt.Errorf("token %q: unknown", token)
}

func newMaterial(t *testing.T) *trust.Material {
	t.Helper()
	a, err := trust.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signing, _, err := trust.SigningKeys(nil).Rotate(time.Now(), trust.FreshKey)
	if err != nil {
		t.Fatal(err)
	}
	return &trust.Material{Authority: a, Signing: signing}
}

func (h *house) agent(node string) *fakeagent.Agent {
	h.t.Helper()
	a := &fakeagent.Agent{Node: node, Address: h.address, Roots: h.material.Authority.Pool(), Keys: h.material.Signing.Public()}
	if err := a.Enroll(context.Background(), "token-"+node[len(node)-1:]); err != nil {
		h.t.Fatal(err)
	}
	return a
}

// run runs the agent until the returned function is called.
func run(t *testing.T, a *fakeagent.Agent) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func (h *house) publish(addresses ...string) {
	var set []snapshot.Entry
	for _, a := range addresses {
		set = append(set, snapshot.Encode(snapshot.AddressRow{Addr: netip.MustParseAddr(a), Namespace: "shop", Name: "web", UID: "u"}))
	}
	h.store.Publish(time.Now(), snapshot.Diff(snapshot.NewSet(), snapshot.NewSet(set...)), nil)
}

func storeOf(nodes ...string) *publish.Store {
	s := publish.NewStore()
	deltas := map[model.NodeName]snapshot.Delta{}
	for _, n := range nodes {
		deltas[model.NodeName(n)] = snapshot.Diff(snapshot.NewSet(), snapshot.NewSet(snapshot.Encode(snapshot.MetaRow{Node: n})))
	}
	s.Publish(time.Now(), snapshot.Delta{}, deltas)
	return s
}

func (h *house) holds(a *fakeagent.Agent) func() bool {
	return func() bool {
		want, _ := h.store.Digest(model.NodeName(a.Node))
		_, set := a.State()
		n := h.tracker.Node(model.NodeName(a.Node))
		counter, _ := h.store.Progress(model.NodeName(a.Node), n.Held)
		return set.Digest() == want && n.Connected && n.Known && counter == h.store.Counter()
	}
}

func TestAgentFollows(t *testing.T) {
	h := newHouse(t, storeOf("node-a", "node-b"), newMaterial(t), 3)
	a := h.agent("node-a")
	stop := run(t, a)
	poll.Holds(t, "the first snapshot", h.holds(a))
	h.publish("10.0.0.1")
	poll.Holds(t, "a delta", h.holds(a))
	got := a.Transfers()
	if len(got) != 2 || !got[0].Full || got[1].Full || got[1].Changes != 1 || got[1].Generation.Term != 3 {
		t.Errorf("transfers %+v", got)
	}
	stop()
	poll.Holds(t, "noticing that the agent is gone", func() bool { return !h.tracker.Node("node-a").Connected })
	h.publish("10.0.0.2")
	h.publish("10.0.0.3")
	run(t, a)
	poll.Holds(t, "catching up", h.holds(a))
	if last := a.Transfers()[2:]; len(last) != 1 || last[0].Full || last[0].Changes != 2 {
		t.Errorf("after reconnecting: %+v", last)
	}
}

// TestOlderAgent: an agent that knows no runtime rules goes on with everything else,
// and is not bothered by changes of what it cannot read.
func TestOlderAgent(t *testing.T) {
	h := newHouse(t, storeOf("node-a"), newMaterial(t), 3)
	a := h.agent("node-a")
	a.Older = true
	stop := run(t, a)
	readable := func(entries ...snapshot.Row) snapshot.Digest {
		set := snapshot.NewSet()
		for _, r := range append(entries, snapshot.MetaRow{Node: "node-a"}) {
			set.Put(snapshot.Encode(r))
		}
		return set.Digest()
	}
	follows := func(want snapshot.Digest, transfers int) func() bool {
		return func() bool {
			_, set := a.State()
			n := h.tracker.Node("node-a")
			counter, _ := h.store.Progress("node-a", n.Held)
			return set.Digest() == want && n.Known && counter == h.store.Counter() && len(a.Transfers()) == transfers
		}
	}
	poll.Holds(t, "the first snapshot", follows(readable(), 1))
	runtime := snapshot.RuntimePodRow{UID: "u", Namespace: "shop", Name: "web"}
	h.store.Publish(time.Now(), snapshot.Delta{}, map[model.NodeName]snapshot.Delta{
		"node-a": snapshot.Diff(snapshot.NewSet(), snapshot.NewSet(snapshot.Encode(runtime))),
	})
	poll.Holds(t, "what it cannot read counts as held, and is not sent", follows(readable(), 1))
	addr := snapshot.AddressRow{Addr: netip.MustParseAddr("10.0.0.1"), Namespace: "shop", Name: "web", UID: "u"}
	h.publish("10.0.0.1")
	poll.Holds(t, "what it can read", follows(readable(addr), 2))
	stop()
	poll.Holds(t, "noticing that the agent is gone", func() bool { return !h.tracker.Node("node-a").Connected })
	stop = run(t, a)
	poll.Holds(t, "the same agent again is sent nothing", follows(readable(addr), 2))
	stop()
	a.Older = false
	poll.Holds(t, "noticing that it is gone again", func() bool { return !h.tracker.Node("node-a").Connected })
	run(t, a)
	poll.Holds(t, "after its upgrade it gets everything", follows(readable(addr, runtime), 3))
}

// TestNewLeader: another store that came to the same state by another way goes
// on with deltas.
func TestNewLeader(t *testing.T) {
	material := newMaterial(t)
	h := newHouse(t, storeOf("node-a"), material, 1)
	h.publish("10.0.0.1")
	h.publish("10.0.0.2")
	a := h.agent("node-a")
	stop := run(t, a)
	poll.Holds(t, "the first snapshot", h.holds(a))
	stop()
	h.stop()

	next := newHouse(t, storeOf("node-a"), material, 2)
	next.publish("10.0.0.2", "10.0.0.1")
	next.store.Raise(1000)
	a.Address = next.address
	run(t, a)
	poll.Holds(t, "recognising what the agent holds", next.holds(a))
	if n := len(a.Transfers()); n != 1 {
		t.Errorf("%d transfers; nothing changed, so nothing should be sent", n)
	}
	next.publish("10.0.0.3")
	poll.Holds(t, "a delta from the new leader", next.holds(a))
	if last := a.Transfers()[1]; last.Full || last.Generation.Term != 2 || last.Generation.Counter != 1001 {
		t.Errorf("transfer %+v", last)
	}
}

func TestOlderLeaderIsNamed(t *testing.T) {
	material := newMaterial(t)
	h := newHouse(t, storeOf("node-a"), material, 7)
	a := h.agent("node-a")
	stop := run(t, a)
	poll.Holds(t, "the first snapshot", h.holds(a))
	stop()
	h.stop()
	// The Lease was restored from a backup: terms start again.
	next := newHouse(t, storeOf("node-a"), material, 1)
	next.publish("10.0.0.9")
	a.Address = next.address
	run(t, a)
	poll.Holds(t, "the replay being named", func() bool {
		r := next.tracker.Node("node-a").Refusal
		return r != nil && r.Reason == wire.ReasonReplay
	})
	if g, _ := a.State(); g.Term != 7 {
		t.Errorf("agent holds %s", g)
	}
	next.epoch.Store(1)
	poll.Holds(t, "recovery by a raised epoch", next.holds(a))
	if g, _ := a.State(); g.Epoch != 1 || g.Term != 1 {
		t.Errorf("agent holds %s", g)
	}
}

func TestRefusal(t *testing.T) {
	h := newHouse(t, storeOf("node-a"), newMaterial(t), 1)
	a := h.agent("node-a")
	var full atomic.Bool
	a.Answer = func(*wire.Transfer) *wire.Refuse {
		if full.Load() {
			return nil
		}
		return &wire.Refuse{Reason: wire.ReasonCapacity, Message: "no room"}
	}
	run(t, a)
	poll.Holds(t, "the refusal", func() bool {
		r := h.tracker.Node("node-a").Refusal
		return r != nil && r.Reason == wire.ReasonCapacity && r.Message == "no room"
	})
	if _, set := a.State(); set.Len() != 0 {
		t.Error("applied in part")
	}
	full.Store(true)
	h.publish("10.0.0.1")
	poll.Holds(t, "recovery with the next state", h.holds(a))
	if h.tracker.Node("node-a").Refusal != nil {
		t.Error("the refusal outlives the acknowledgement")
	}
}

func TestDamagedDeltaIsSentInFull(t *testing.T) {
	h := newHouse(t, storeOf("node-a"), newMaterial(t), 1)
	a := h.agent("node-a")
	a.Answer = func(t *wire.Transfer) *wire.Refuse {
		if t.Base != nil {
			return &wire.Refuse{Reason: wire.ReasonBase}
		}
		return nil
	}
	run(t, a)
	poll.Holds(t, "the first snapshot", h.holds(a))
	h.publish("10.0.0.1")
	poll.Holds(t, "the second one", h.holds(a))
	full := []bool{}
	for _, r := range a.Transfers() {
		full = append(full, r.Full)
	}
	// The generation of the refused delta is sent again in full.
	if !slices.Equal(full, []bool{true, false, true}) {
		t.Errorf("full: %v", full)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	h := newHouse(t, storeOf("node-a", "node-b"), newMaterial(t), 1)
	code := func(a *fakeagent.Agent) codes.Code {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return status.Code(a.Run(ctx))
	}
	bare := &fakeagent.Agent{Node: "node-a", Address: h.address, Roots: h.material.Authority.Pool()}
	if got := code(bare); got != codes.Unauthenticated {
		t.Errorf("no certificate: %v", got)
	}
	if err := bare.Enroll(context.Background(), "stolen"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("unknown token: %v", err)
	}
	other := h.agent("node-a")
	other.Node = "node-b"
	if got := code(other); got != codes.PermissionDenied {
		t.Errorf("certificate of another node: %v", got)
	}
	foreign := newMaterial(t)
	stranger := h.agent("node-a")
	stranger.Roots = foreign.Authority.Pool()
	if got := code(stranger); got != codes.Unavailable {
		t.Errorf("server of another authority: %v", got)
	}
	if len(h.tracker.Nodes()) != 0 {
		t.Errorf("nodes %v are known", h.tracker.Nodes())
	}
}

func TestSecondAgentReplacesTheFirst(t *testing.T) {
	h := newHouse(t, storeOf("node-a"), newMaterial(t), 1)
	first, second := h.agent("node-a"), h.agent("node-a")
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { ended <- first.Run(ctx) }()
	poll.Holds(t, "the first agent", h.holds(first))
	run(t, second)
	if err := <-ended; status.Code(err) != codes.Aborted {
		t.Errorf("first agent ended by %v", err)
	}
	poll.Holds(t, "the second agent", h.holds(second))
}

// TestQuietNodeGetsTheNewSignature: what a node holds is signed by the new key
// once that signs, though nothing else changes, and once only.
func TestQuietNodeGetsTheNewSignature(t *testing.T) {
	material := newMaterial(t)
	material.Signing[0].Created = time.Now().Add(-100 * 24 * time.Hour)
	keys, rotated, err := material.Signing.Rotate(time.Now(), trust.FreshKey)
	if err != nil || !rotated || len(keys) != 2 {
		t.Fatalf("keys %d, rotated %t, %v", len(keys), rotated, err)
	}
	material.Signing = keys
	id := func(i int) snapshot.KeyID { return snapshot.KeyIDOf(keys[i].Private.Public().(ed25519.PublicKey)) }
	h := newHouse(t, storeOf("node-a", "node-b"), material, 1)
	a, b := h.agent("node-a"), h.agent("node-b")
	stop := run(t, a)
	run(t, b)
	poll.Holds(t, "the first snapshot", h.holds(a))
	poll.Holds(t, "the first snapshot of the other", h.holds(b))
	if got := a.Transfers(); len(got) != 1 || got[0].Signer != id(0) {
		t.Errorf("transfers %+v", got)
	}
	_, before := a.State()

	h.ahead.Store(int64(25 * time.Hour))
	for _, agent := range []*fakeagent.Agent{a, b} {
		poll.Holds(t, "the new signature", func() bool { return len(agent.Transfers()) == 2 })
	}
	poll.Holds(t, "the answer", h.holds(a))
	got := a.Transfers()
	if again := got[1]; again.Full || again.Changes != 0 || again.Signer != id(1) || again.Generation.Compare(got[0].Generation) <= 0 {
		t.Errorf("transfers %+v", got)
	}
	if g, set := a.State(); g != got[1].Generation || set.Digest() != before.Digest() {
		t.Errorf("agent holds %s, %s; before it was %s", g, set.Digest(), before.Digest())
	}
	h.publish("10.0.0.1")
	poll.Holds(t, "a change", h.holds(a))
	if got := a.Transfers(); len(got) != 3 || got[2].Changes != 1 || got[2].Signer != id(1) {
		t.Errorf("transfers %+v", got)
	}
	// Nobody knows who signed what an agent brings along, while both are trusted.
	h.ahead.Store(0)
	stop()
	poll.Holds(t, "noticing that the agent is gone", func() bool { return !h.tracker.Node("node-a").Connected })
	run(t, a)
	poll.Holds(t, "the agent being back", h.holds(a))
	h.ahead.Store(int64(25 * time.Hour))
	poll.Holds(t, "the new signature again", func() bool { return len(a.Transfers()) == 4 })
	poll.Holds(t, "the answer", h.holds(a))
}

func TestReports(t *testing.T) {
	h := newHouse(t, storeOf("node-a"), newMaterial(t), 1)
	a := h.agent("node-a")
	run(t, a)
	rule := snapshot.NewRuleID([]byte("rule"))
	named := snapshot.NewSet(snapshot.Encode(snapshot.RuleRow{ID: rule, Policy: "db", Rule: "backend"}))
	h.store.Publish(time.Now(), snapshot.Delta{}, map[model.NodeName]snapshot.Delta{"node-a": snapshot.Diff(snapshot.NewSet(), named)})
	for range 2 {
		a.Report(&wire.Report{
			Conditions: []*wire.Condition{{Type: wire.ConditionEnforcing, Reason: "DatapathBypassed", Message: "eth1"}},
			Losses:     []*wire.Loss{{Kind: "flows", Count: 3}},
			Counters:   []*wire.Counter{{Rule: rule[:], Connections: 2, Packets: 5}, {Rule: []byte("short"), Connections: 1}},
		})
	}
	poll.Holds(t, "both reports", func() bool { return h.tracker.Losses()["flows"] == 6 })
	if got := h.tracker.Rules(); len(got) != 1 || got[rule].RuleCount != (publish.RuleCount{Connections: 4, Packets: 10}) || got[rule].Row.Policy != "db" {
		t.Errorf("counts %v", got)
	}
	poll.Holds(t, "the condition", func() bool { return len(h.tracker.Node("node-a").Conditions) == 1 })
	if c := h.tracker.Node("node-a").Conditions[0]; c.Holds || c.Reason != "DatapathBypassed" {
		t.Errorf("condition %+v", c)
	}
}
