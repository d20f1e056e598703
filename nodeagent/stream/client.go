package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/grpc"

	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Client keeps one stream to the controller.
type Client struct {
	Node    string
	Version string
	Handler Handler
	Log     logr.Logger
	// Dial connects, with the certificate that is good now.
	Dial func(context.Context) (*grpc.ClientConn, error)
	// Connected tells when a stream begins and ends, for metrics and conditions.
	Connected func(bool)
	// Wait passes the time between two attempts; nil waits really.
	Wait func(context.Context, time.Duration)
}

// The pause between two attempts grows from least to most, and is random between
// its half and its whole so that a thousand agents do not come at once.
const (
	leastPause = 200 * time.Millisecond
	mostPause  = 30 * time.Second
	// steady is how long a stream must have held for the pause to start small again.
	steady = 30 * time.Second
	// lastWords is how long the controller has to end a stream that was refused.
	lastWords = 2 * time.Second
)

// Run keeps a stream until ctx ends.
func (c *Client) Run(ctx context.Context) {
	pause := leastPause
	for ctx.Err() == nil {
		began := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			pause = leastPause
		}
		d := pause/2 + rand.N(pause/2) //nolint:gosec // spreads load, guards nothing
		c.Log.Info("no stream from the controller; the node keeps what it enforces", "reason", err.Error(), "retryIn", d.String())
		c.wait(ctx, d)
		pause = min(2*pause, mostPause)
	}
}

func (c *Client) wait(ctx context.Context, d time.Duration) {
	if c.Wait != nil {
		c.Wait(ctx, d)
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (c *Client) once(ctx context.Context) error {
	conn, err := c.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := wire.NewSnapshotsClient(conn).Stream(ctx, grpc.MaxCallRecvMsgSize(wire.MaxMessage))
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	s := &session{client: c, stream: st, cancel: cancel, receiver: wire.Receiver{Node: c.Node}}
	welcome, err := s.greet()
	if err != nil {
		return err
	}
	if c.Connected != nil {
		c.Connected(true)
		defer c.Connected(false)
	}
	c.Log.Info("stream from the controller", "controller", welcome.GetVersion(), "format", welcome.GetFormat())
	return s.run(ctx, welcome)
}

// session is one stream. Receiving and sending are each done by one goroutine.
type session struct {
	client   *Client
	stream   grpc.BidiStreamingClient[wire.AgentMessage, wire.ControllerMessage]
	cancel   func()
	receiver wire.Receiver
}

func (s *session) greet() (*wire.Welcome, error) {
	hello := &wire.Hello{
		Node: s.client.Node, Version: s.client.Version, Formats: []uint32{snapshot.Format}, Capabilities: []string{wire.CapabilityRuntime},
	}
	if held, ok := s.client.Handler.Held(); ok {
		hello.Generation, hello.Digest = wire.FromGeneration(held.Generation), held.Digest[:]
	}
	if err := s.stream.Send(&wire.AgentMessage{Body: &wire.AgentMessage_Hello{Hello: hello}}); err != nil {
		return nil, s.closed(err)
	}
	m, err := s.stream.Recv()
	if err != nil {
		return nil, s.closed(err)
	}
	if err := wire.Strict(m); err != nil {
		return nil, err
	}
	w := m.GetWelcome()
	if w == nil {
		return nil, fmt.Errorf("message %T instead of a welcome: %w", m.GetBody(), wire.ErrProtocol)
	}
	if w.GetFormat() != snapshot.Format {
		return nil, fmt.Errorf("controller sends snapshot format %d, this agent reads %d: %w", w.GetFormat(), snapshot.Format, snapshot.ErrFormat)
	}
	return w, nil
}

// closed returns the status behind an end of the stream; Send only says EOF.
func (s *session) closed(err error) error {
	if _, rerr := s.stream.Recv(); rerr != nil {
		return fmt.Errorf("stream: %w", rerr)
	}
	return fmt.Errorf("stream: %w", err)
}

// run receives in a goroutine of its own, applies and sends in this one: while a
// transfer is applied, reports wait, and the next transfer waits for its answer.
func (s *session) run(ctx context.Context, w *wire.Welcome) error {
	incoming := make(chan *wire.Transfer)
	ended := make(chan error, 1)
	go func() { ended <- s.receive(ctx, incoming) }()
	defer func() {
		s.cancel()
		for range incoming { // lets the receiver go
		}
	}()
	every := max(1, time.Duration(w.GetReportSeconds())) * time.Second
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	if err := s.report(); err != nil {
		return err
	}
	for {
		var err error
		select {
		case t, ok := <-incoming:
			if !ok {
				return s.refuseEnd(<-ended)
			}
			err = s.apply(ctx, t)
		case <-ticker.C:
			err = s.report()
		case <-s.client.Handler.ReportSoon():
			err = s.report()
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) receive(ctx context.Context, out chan<- *wire.Transfer) error {
	defer close(out)
	for {
		m, err := s.stream.Recv()
		if err != nil {
			return fmt.Errorf("stream: %w", err)
		}
		t, err := s.receiver.Receive(m)
		if err != nil {
			return Refuse(wire.ReasonDamaged, "transfer: %w", err)
		}
		if t == nil {
			continue
		}
		select {
		case out <- t:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// refuseEnd tells the controller why the stream ends, where that is the fault of
// what it sent: a transfer that does not decode names no generation to go on from.
func (s *session) refuseEnd(err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	if serr := s.refuse(snapshot.Generation{}, r); serr != nil {
		return errors.Join(err, serr)
	}
	// Half-closing and waiting for the end lets the refusal arrive: a cancelled
	// stream drops what is still queued. Not for ever, though.
	stop := time.AfterFunc(lastWords, s.cancel)
	defer stop.Stop()
	if serr := s.stream.CloseSend(); serr != nil {
		return errors.Join(err, serr)
	}
	for {
		if _, rerr := s.stream.Recv(); rerr != nil {
			return err
		}
	}
}

func (s *session) apply(ctx context.Context, t *wire.Transfer) error {
	began := time.Now()
	log := s.client.Log.WithValues("generation", t.Commit.Generation.String(), "full", t.Base == nil)
	err := s.client.Handler.Apply(ctx, t)
	if err == nil {
		log.Info("realised", "digest", t.Commit.Digest.String(), "upserts", len(t.Delta.Upserts), "deletes", len(t.Delta.Deletes), "took", time.Since(began).String())
		return s.send(&wire.AgentMessage{Body: &wire.AgentMessage_Ack{Ack: &wire.Ack{
			Generation: wire.FromGeneration(t.Commit.Generation), Digest: t.Commit.Digest[:],
		}}})
	}
	var r *Refusal
	if !errors.As(err, &r) {
		r = &Refusal{Reason: wire.ReasonInternal, Err: err}
	}
	log.Info("refused; the node keeps what it enforces", "reason", r.Reason, "message", r.Err.Error())
	return s.refuse(t.Commit.Generation, r)
}

func (s *session) refuse(g snapshot.Generation, r *Refusal) error {
	return s.send(&wire.AgentMessage{Body: &wire.AgentMessage_Refuse{Refuse: &wire.Refuse{
		Generation: wire.FromGeneration(g), Reason: r.Reason, Message: r.Err.Error(), Object: r.Object,
	}}})
}

func (s *session) report() error {
	return s.send(&wire.AgentMessage{Body: &wire.AgentMessage_Report{Report: s.client.Handler.Report()}})
}

func (s *session) send(m *wire.AgentMessage) error {
	if err := s.stream.Send(m); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}
