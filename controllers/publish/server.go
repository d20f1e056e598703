package publish

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"palisade.dev/palisade/controllers/trust"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Server serves the store to agents. It runs on the leader only.
type Server struct {
	Store   *Store
	Tracker *Tracker
	// Material is what the server shows and signs with; it is asked anew for
	// every connection and signature, and may be renewed at any time.
	Material func() *trust.Material
	// Term gives the parts of a generation that leader election decides.
	Term func() (epoch, term uint32)
	// Identify says on which node the pod runs whose token this is.
	Identify func(ctx context.Context, token string) (node string, err error)
	// Names and Addresses are what the server's certificate is for.
	Names     []string
	Addresses []net.IP
	Version   string
	// RetryRefused is when a refused state is sent again, 0: after 30 s.
	RetryRefused time.Duration
	// CheckSigner is how often an agent's snapshot is compared with the key that
	// signs now, 0: every 10 min.
	CheckSigner time.Duration
	Log         logr.Logger
	Now         func() time.Time

	wire.UnimplementedSnapshotsServer

	mu          sync.Mutex
	certificate *tls.Certificate
	issuer      *trust.Authority
	sessions    map[model.NodeName]*session
}

// Timing of connections.
const (
	keepaliveEvery  = 20 * time.Second
	helloTimeout    = 10 * time.Second
	reportSeconds   = 10
	retryRefused    = 30 * time.Second
	checkSigner     = 10 * time.Minute
	shutdownTimeout = 2 * time.Second
)

// Serve serves on a listener until the context ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(s.tlsConfig())),
		grpc.MaxRecvMsgSize(wire.MaxMessage),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveEvery, Timeout: keepaliveEvery / 2}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveEvery / 4, PermitWithoutStream: true}),
	)
	wire.RegisterSnapshotsServer(g, s)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		// Streams never end by themselves: agents are to find the next leader.
		t := time.AfterFunc(shutdownTimeout, g.Stop)
		defer t.Stop()
		s.endSessions()
		g.GracefulStop()
	}()
	err := g.Serve(l)
	if ctx.Err() != nil {
		<-stopped
		return nil
	}
	return fmt.Errorf("stream server: %w", err)
}

// tlsConfig asks for a client certificate and verifies it if there is one:
// Enroll works without, Stream insists.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cert, authority, err := s.serverCertificate()
			if err != nil {
				return nil, err
			}
			return &tls.Config{
				MinVersion:   tls.VersionTLS13,
				Certificates: []tls.Certificate{*cert},
				ClientAuth:   tls.VerifyClientCertIfGiven,
				ClientCAs:    authority.Pool(),
				NextProtos:   []string{"h2"},
				Time:         s.Now,
			}, nil
		},
	}
}

var errNoMaterial = errors.New("certificates are not made yet")

func (s *Server) serverCertificate() (*tls.Certificate, *trust.Authority, error) {
	m := s.Material()
	if m == nil {
		return nil, nil, errNoMaterial
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	if s.issuer == m.Authority && s.certificate != nil && halfLeft(s.certificate.Leaf, now) {
		return s.certificate, m.Authority, nil
	}
	cert, err := m.Authority.Server(now, s.Names, s.Addresses)
	if err != nil {
		return nil, nil, err
	}
	s.certificate, s.issuer = cert, m.Authority
	return cert, m.Authority, nil
}

func halfLeft(c *x509.Certificate, now time.Time) bool {
	return c.NotAfter.Sub(now) > c.NotAfter.Sub(c.NotBefore)/2
}

// generation is the generation that a counter has under the present leader.
func (s *Server) generation(c Counter) snapshot.Generation {
	epoch, term := s.Term()
	return snapshot.Generation{Epoch: epoch, Term: term, Counter: uint64(c)}
}

// transfer signs a step for a node.
func (s *Server) transfer(node model.NodeName, step Step, base *snapshot.Digest) *wire.Transfer {
	commit := snapshot.Commit{
		Node: string(node), Format: snapshot.Format, Generation: s.generation(step.Counter), Digest: step.Digest,
	}
	t := &wire.Transfer{Delta: step.Delta, Commit: commit}
	if !step.Full {
		t.Base = base
	}
	t.Signature = snapshot.Sign(s.Material().Signing.Active(s.Now()).Private, commit)
	return t
}

// begin makes a session the only one of its node: the agent that connected last
// is the one that is alive.
func (s *Server) begin(next *session) {
	s.mu.Lock()
	old := s.sessions[next.node]
	if s.sessions == nil {
		s.sessions = map[model.NodeName]*session{}
	}
	s.sessions[next.node] = next
	s.mu.Unlock()
	if old != nil {
		old.cancel(errReplaced)
	}
}

// end reports whether the session was still its node's.
func (s *Server) end(last *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[last.node] != last {
		return false
	}
	delete(s.sessions, last.node)
	return true
}

func (s *Server) endSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, session := range s.sessions {
		session.cancel(errShutdown)
	}
}
