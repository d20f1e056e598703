package stream

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type conversation = grpc.BidiStreamingServer[wire.AgentMessage, wire.ControllerMessage]

// agent is a handler that keeps a set as the real one does, and no kernel.
type agent struct {
	set    *snapshot.Set
	held   Held
	has    bool
	refuse error
	soon   chan struct{}
}

func newAgent() *agent { return &agent{set: snapshot.NewSet(), soon: make(chan struct{}, 1)} }

func (a *agent) Held() (Held, bool)          { return a.held, a.has }
func (a *agent) Report() *wire.Report        { return &wire.Report{} }
func (a *agent) ReportSoon() <-chan struct{} { return a.soon }
func (a *agent) Apply(_ context.Context, t *wire.Transfer) error {
	if a.refuse != nil {
		return a.refuse
	}
	a.set.Apply(t.Delta)
	a.held, a.has = Held{t.Commit.Generation, t.Commit.Digest}, true
	return nil
}

var signingKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func transfer(counter uint64) *wire.Transfer {
	set := snapshot.NewSet(snapshot.Encode(snapshot.MetaRow{Node: node}))
	c := snapshot.Commit{Node: node, Format: snapshot.Format, Generation: snapshot.Generation{Counter: counter}, Digest: set.Digest()}
	return &wire.Transfer{Delta: snapshot.Diff(snapshot.NewSet(), set), Commit: c, Signature: snapshot.Sign(signingKey, c)}
}

func welcome(st conversation) (*wire.Hello, error) {
	m, err := st.Recv()
	if err != nil {
		return nil, err
	}
	return m.GetHello(), st.Send(&wire.ControllerMessage{Body: &wire.ControllerMessage_Welcome{Welcome: &wire.Welcome{Format: snapshot.Format, ReportSeconds: 60}}})
}

// answer returns the next message that is no report.
func answer(st conversation) (*wire.AgentMessage, error) {
	for {
		m, err := st.Recv()
		if err != nil || m.GetReport() == nil {
			return m, err
		}
	}
}

// converse runs one stream of a client against serve and returns serve's error.
func converse(t *testing.T, h Handler, serve func(conversation) error) error {
	t.Helper()
	c := startController(t)
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c.serve(func(st conversation) error {
		err := serve(st)
		select {
		case done <- err:
		default:
		}
		return err
	})
	client := &Client{Node: node, Handler: h, Log: logr.Discard(), Dial: c.enroller(t).Dial, Wait: func(ctx context.Context, _ time.Duration) { <-ctx.Done() }}
	finished := make(chan struct{})
	go func() { defer close(finished); client.Run(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		t.Error("the conversation did not end")
	}
	cancel()
	<-finished
	return err
}

func TestFullThenAck(t *testing.T) {
	a := newAgent()
	tr := transfer(3)
	err := converse(t, a, func(st conversation) error {
		h, err := welcome(st)
		if err != nil || h.GetNode() != node || h.GetDigest() != nil {
			return errors.Join(err, errors.New("hello: "+h.String()))
		}
		if err := tr.Messages(st.Send); err != nil {
			return err
		}
		m, err := answer(st)
		if err != nil || wire.ToGeneration(m.GetAck().GetGeneration()) != tr.Commit.Generation || string(m.GetAck().GetDigest()) != string(tr.Commit.Digest[:]) {
			return errors.Join(err, errors.New("answer: "+m.String()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.set.Digest() != tr.Commit.Digest {
		t.Error("the agent does not hold what was sent")
	}
}

func TestHelloSaysWhatIsHeld(t *testing.T) {
	a := newAgent()
	a.has, a.held = true, Held{snapshot.Generation{Epoch: 1, Term: 2, Counter: 3}, snapshot.Digest{7}}
	err := converse(t, a, func(st conversation) error {
		h, err := welcome(st)
		if err == nil && (wire.ToGeneration(h.GetGeneration()) != a.held.Generation || string(h.GetDigest()) != string(a.held.Digest[:])) {
			return errors.New("hello: " + h.String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A refused generation ends nothing: the next one may be better.
func TestRefusalGoesOn(t *testing.T) {
	a := newAgent()
	a.refuse = &Refusal{Reason: wire.ReasonCapacity, Object: "pnp/shop/db", Err: errors.New("segments: 9 of 8")}
	err := converse(t, a, func(st conversation) error {
		if _, err := welcome(st); err != nil {
			return err
		}
		for range 2 {
			if err := transfer(3).Messages(st.Send); err != nil {
				return err
			}
			m, err := answer(st)
			r := m.GetRefuse()
			if err != nil || r.GetReason() != wire.ReasonCapacity || r.GetObject() != "pnp/shop/db" || !strings.Contains(r.GetMessage(), "9 of 8") {
				return errors.Join(err, errors.New("answer: "+m.String()))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What does not decode is refused with a reason, and the stream ends.
func TestBadTransfers(t *testing.T) {
	begin := func(size uint64) *wire.ControllerMessage {
		return &wire.ControllerMessage{Body: &wire.ControllerMessage_Begin{Begin: &wire.Begin{Size: size, Generation: &wire.Generation{Counter: 1}}}}
	}
	chunk := func(n int) *wire.ControllerMessage {
		return &wire.ControllerMessage{Body: &wire.ControllerMessage_Chunk{Chunk: &wire.Chunk{Data: make([]byte, n)}}}
	}
	unknown := begin(1)
	unknown.GetBegin().ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	tests := map[string]struct {
		send []*wire.ControllerMessage
		want string
	}{
		"chunk first":         {[]*wire.ControllerMessage{chunk(1)}, "chunk without begin"},
		"announced too large": {[]*wire.ControllerMessage{begin(wire.MaxTransfer + 1)}, "is over"},
		"more than announced": {[]*wire.ControllerMessage{begin(3), chunk(4)}, "more than the 3 bytes announced"},
		"chunk too large":     {[]*wire.ControllerMessage{begin(1 << 20), chunk(wire.MaxChunk + 1)}, "chunk of"},
		"unknown field":       {[]*wire.ControllerMessage{unknown}, "unknown field"},
		"garbage": {[]*wire.ControllerMessage{begin(4), chunk(4), {Body: &wire.ControllerMessage_Commit{Commit: &wire.Commit{
			Generation: &wire.Generation{Counter: 1}, Digest: make([]byte, 32), Key: make([]byte, 8), Signature: make([]byte, 64), Format: snapshot.Format,
		}}}}, "generation 0.0.1"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a := newAgent()
			err := converse(t, a, func(st conversation) error {
				if _, err := welcome(st); err != nil {
					return err
				}
				for _, m := range tc.send {
					if err := st.Send(m); err != nil {
						return err
					}
				}
				m, err := answer(st)
				if err != nil || m.GetRefuse().GetReason() != wire.ReasonDamaged || !strings.Contains(m.GetRefuse().GetMessage(), tc.want) {
					return errors.Join(err, errors.New("answer: "+m.String()))
				}
				if _, err := answer(st); !errors.Is(err, io.EOF) {
					return errors.Join(err, errors.New("the stream goes on"))
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if a.has {
				t.Error("something was applied")
			}
		})
	}
}

// The client comes back after any end, more and more slowly.
func TestReconnects(t *testing.T) {
	c := startController(t)
	streams := make(chan struct{}, 100)
	c.serve(func(st conversation) error {
		if _, err := welcome(st); err != nil {
			return err
		}
		streams <- struct{}{}
		return status.Error(codes.Unavailable, "leaving")
	})
	ctx, cancel := context.WithCancel(context.Background())
	var pauses []time.Duration
	client := &Client{Node: node, Handler: newAgent(), Log: logr.Discard(), Dial: c.enroller(t).Dial, Wait: func(_ context.Context, d time.Duration) {
		if pauses = append(pauses, d); len(pauses) == 12 {
			cancel()
		}
	}}
	client.Run(ctx)
	if len(streams) != 12 {
		t.Errorf("streams = %d, want 12", len(streams))
	}
	for i, d := range pauses {
		whole := min(leastPause<<i, mostPause)
		if d < whole/2 || d > whole {
			t.Errorf("pause %d = %s, want %s to %s", i, d, whole/2, whole)
		}
	}
}
