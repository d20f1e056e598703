package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"palisade.dev/palisade/controllers/trust"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

var (
	// errReplaced: another agent connected for the same node.
	errReplaced = errors.New("another agent has connected for this node")
	// errShutdown: this controller is no longer the leader.
	errShutdown = errors.New("this controller stops serving")
	// errNoCertificate: the stream has no verified client certificate.
	errNoCertificate = errors.New("a client certificate is required; call Enroll first")
)

// session is one agent's stream. One goroutine receives, run does all else.
type session struct {
	server *Server
	node   model.NodeName
	stream wire.Snapshots_StreamServer
	cancel context.CancelCauseFunc

	held   Counter // what the agent enforces, if known
	digest snapshot.Digest
	known  bool
	signer snapshot.KeyID // who signed that
	older  bool           // it knows no runtime rules
	// generation is what the agent calls it.
	generation snapshot.Generation
	inFlight   *wire.Transfer // sent and not answered
	step       Counter        // the counter of inFlight
	refused    Counter        // nothing up to here is sent again before retry
	retry      <-chan time.Time
}

// Stream serves one agent.
func (s *Server) Stream(stream wire.Snapshots_StreamServer) error {
	node, err := nodeOfPeer(stream.Context())
	if err != nil {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	messages := receive(ctx, stream, cancel)
	hello, err := firstHello(ctx, messages)
	if err != nil {
		return err
	}
	if hello.GetNode() != node {
		return status.Errorf(codes.PermissionDenied, "certificate of node %q, hello of node %q", node, hello.GetNode())
	}
	if !slices.Contains(hello.GetFormats(), snapshot.Format) {
		return status.Errorf(codes.FailedPrecondition, "agent reads formats %v, controller writes %d", hello.GetFormats(), snapshot.Format)
	}
	session := &session{server: s, node: model.NodeName(node), stream: stream, cancel: cancel}
	session.older = !slices.Contains(hello.GetCapabilities(), wire.CapabilityRuntime)
	return session.run(ctx, hello, messages)
}

func nodeOfPeer(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", errNoCertificate
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return "", errNoCertificate
	}
	return trust.NodeOf(info.State.VerifiedChains[0][0])
}

// receive passes on what the agent says until the stream ends.
func receive(ctx context.Context, stream wire.Snapshots_StreamServer, cancel context.CancelCauseFunc) <-chan *wire.AgentMessage {
	messages := make(chan *wire.AgentMessage)
	go func() {
		for {
			m, err := stream.Recv()
			if err == nil {
				err = wire.Strict(m)
			}
			if err != nil {
				cancel(err)
				return
			}
			select {
			case messages <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	return messages
}

func firstHello(ctx context.Context, messages <-chan *wire.AgentMessage) (*wire.Hello, error) {
	timeout := time.NewTimer(helloTimeout)
	defer timeout.Stop()
	select {
	case m := <-messages:
		if hello := m.GetHello(); hello != nil {
			return hello, nil
		}
		return nil, status.Errorf(codes.InvalidArgument, "first message is a %T, want hello", m.GetBody())
	case <-timeout.C:
		return nil, status.Error(codes.DeadlineExceeded, "no hello")
	case <-ctx.Done():
		return nil, streamError(context.Cause(ctx))
	}
}

// streamError gives an error the gRPC code that tells an agent what to do.
func streamError(err error) error {
	switch {
	case errors.Is(err, errShutdown):
		return status.Error(codes.Unavailable, err.Error())
	case errors.Is(err, errReplaced):
		return status.Error(codes.Aborted, err.Error())
	case errors.Is(err, wire.ErrUnknownField), errors.Is(err, wire.ErrProtocol):
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return err
}

func (n *session) run(ctx context.Context, hello *wire.Hello, messages <-chan *wire.AgentMessage) error {
	log := n.server.Log.WithValues("node", string(n.node))
	n.server.begin(n)
	defer func() {
		if n.server.end(n) {
			n.server.Tracker.disconnected(n.node)
		}
		log.Info("agent disconnected", "cause", fmt.Sprint(context.Cause(ctx)))
	}()
	if err := n.open(hello); err != nil {
		return err
	}
	log.Info("agent connected", "version", hello.GetVersion(), "holds", wire.ToGeneration(hello.GetGeneration()).String(), "known", n.known)
	check := time.NewTicker(cmp.Or(n.server.CheckSigner, checkSigner))
	defer check.Stop()
	for {
		changed := n.server.Store.Changed()
		if err := n.send(); err != nil {
			return err
		}
		select {
		case m := <-messages:
			if err := n.receive(m); err != nil {
				return streamError(err)
			}
		case <-changed:
		case <-check.C:
		case <-n.retry:
			n.refused, n.retry = 0, nil
		case <-ctx.Done():
			return streamError(context.Cause(ctx))
		}
	}
}

// open finds out what the agent holds and welcomes it.
func (n *session) open(hello *wire.Hello) error {
	if len(hello.GetDigest()) > 0 {
		digest, err := wire.ToDigest(hello.GetDigest())
		if err != nil {
			return streamError(err)
		}
		n.digest = digest
		n.held, n.known = n.server.Store.Locate(n.node, digest)
	}
	n.generation, n.signer = wire.ToGeneration(hello.GetGeneration()), n.server.oldestSigner()
	n.server.Tracker.connected(n.node, hello.GetVersion(), n.held, n.known)
	held, ours := n.generation, n.server.generation(0)
	if hello.GetGeneration() != nil && (held.Epoch > ours.Epoch || held.Epoch == ours.Epoch && held.Term > ours.Term) {
		n.refuse(Refusal{
			Counter: n.server.Store.Counter(), Reason: wire.ReasonReplay,
			Message: fmt.Sprintf("the agent holds generation %s and would refuse %s as a replay: annotate the Lease palisade-controller with a higher palisade.dev/epoch", held, n.server.generation(n.server.Store.Counter())),
		})
	}
	// It was sent this generation without what it could not read then; all of it comes
	// under a new one.
	if !n.known && held.Epoch == ours.Epoch && held.Term == ours.Term && !n.older {
		n.server.Store.Raise(Counter(held.Counter) + 1)
	}
	return n.stream.Send(&wire.ControllerMessage{Body: &wire.ControllerMessage_Welcome{Welcome: &wire.Welcome{
		Version: n.server.Version, Format: snapshot.Format, ReportSeconds: reportSeconds, Capabilities: n.capabilities(),
	}}})
}

// send starts a transfer if there is something to send and none is under way.
func (n *session) send() error {
	if n.inFlight != nil || n.refused > 0 && n.server.Store.Counter() <= n.refused {
		return nil
	}
	step, ok := n.next()
	if !ok {
		step, ok = n.renewal()
	}
	if !ok {
		return nil
	}
	base := n.digest
	n.inFlight, n.step = n.server.transfer(n.node, step, &base), step.Counter
	return n.inFlight.Messages(n.stream.Send)
}

// capabilities are those that both sides have.
func (n *session) capabilities() []string {
	if n.older {
		return nil
	}
	return []string{wire.CapabilityRuntime}
}

// next is what the agent lacks. One that knows no runtime rules gets whole snapshots
// without them, and none where nothing else has changed: that it is older is for the
// time of an upgrade.
func (n *session) next() (Step, bool) {
	step, ok := n.server.Store.Next(n.node, n.held, n.known)
	if !n.older || !ok && n.known {
		return step, ok
	}
	step, ok = n.server.Store.WithoutRuntime(n.node)
	if !ok || step.Digest != n.digest {
		return step, ok
	}
	n.held, n.known = step.Counter, true
	n.server.Tracker.acknowledged(n.node, n.held)
	return Step{}, false
}

func (n *session) receive(m *wire.AgentMessage) error {
	switch body := m.GetBody().(type) {
	case *wire.AgentMessage_Ack:
		return n.acknowledged(body.Ack)
	case *wire.AgentMessage_Refuse:
		return n.refusedBy(body.Refuse)
	case *wire.AgentMessage_Report:
		n.server.Tracker.reported(n.node, body.Report, func(id snapshot.RuleID) (snapshot.RuleRow, bool) { return n.server.Store.Rule(n.node, id) })
		return nil
	default:
		return fmt.Errorf("message %T: %w", body, wire.ErrProtocol)
	}
}

func (n *session) acknowledged(a *wire.Ack) error {
	t := n.inFlight
	if t == nil || wire.ToGeneration(a.GetGeneration()) != t.Commit.Generation || string(a.GetDigest()) != string(t.Commit.Digest[:]) {
		return fmt.Errorf("acknowledgement of what was not sent: %w", wire.ErrProtocol)
	}
	n.held, n.digest, n.known = n.step, t.Commit.Digest, true
	n.generation, n.signer = t.Commit.Generation, t.Signature.Key
	n.inFlight, n.refused, n.retry = nil, 0, nil
	n.server.Tracker.acknowledged(n.node, n.step)
	return nil
}

// refusedBy notes a refusal. What a transfer itself may mend (a base that the
// agent does not have, damage) is sent again in full at once; the rest is tried
// again when there is something new, or after a while.
func (n *session) refusedBy(r *wire.Refuse) error {
	// A transfer that did not decode has no generation that an agent could name.
	named := r.GetGeneration() != nil && wire.ToGeneration(r.GetGeneration()) != snapshot.Generation{}
	if n.inFlight == nil || named && wire.ToGeneration(r.GetGeneration()) != n.inFlight.Commit.Generation {
		return fmt.Errorf("refusal of what was not sent: %w", wire.ErrProtocol)
	}
	full := n.inFlight.Base == nil
	n.inFlight = nil
	mendable := r.GetReason() == wire.ReasonBase || r.GetReason() == wire.ReasonDamaged
	if mendable && !full {
		n.known = false
		return nil
	}
	n.refuse(Refusal{Counter: n.step, Reason: r.GetReason(), Message: r.GetMessage(), Object: r.GetObject()})
	return nil
}

func (n *session) refuse(r Refusal) {
	n.refused, n.retry = r.Counter, time.After(cmp.Or(n.server.RetryRefused, retryRefused))
	n.server.Tracker.refused(n.node, r)
	refusals.WithLabelValues(r.Reason).Inc()
	n.server.Log.Info("agent refused", "node", string(n.node), "reason", r.Reason, "message", r.Message, "object", r.Object)
}
