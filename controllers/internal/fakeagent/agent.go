// Package fakeagent is an agent for tests: a real client of the stream that
// applies what it gets to a set instead of a kernel.
package fakeagent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Agent plays the agent of one node. Set the fields, then call Run.
type Agent struct {
	Node       string
	Address    string
	ServerName string
	Roots      *x509.CertPool
	Keys       snapshot.Keys
	// Certificate is what Enroll gave, or another one.
	Certificate *tls.Certificate
	// Older is an agent that knows no runtime rules.
	Older bool
	// Answer refuses a transfer instead of applying it; nil: everything is applied.
	Answer func(*wire.Transfer) *wire.Refuse

	mu         sync.Mutex
	set        *snapshot.Set
	generation snapshot.Generation
	transfers  []Received
	reports    chan *wire.Report
}

// Received is a transfer that came.
type Received struct {
	Full       bool
	Generation snapshot.Generation
	Changes    int
	Signer     snapshot.KeyID
}

// State is what the agent holds.
func (a *Agent) State() (snapshot.Generation, *snapshot.Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.set == nil {
		return a.generation, snapshot.NewSet()
	}
	return a.generation, a.set.Clone()
}

// Transfers lists what came.
func (a *Agent) Transfers() []Received {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Received(nil), a.transfers...)
}

// Report sends a report on the running stream.
func (a *Agent) Report(r *wire.Report) { a.reportChannel() <- r }

func (a *Agent) reportChannel() chan *wire.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reports == nil {
		a.reports = make(chan *wire.Report)
	}
	return a.reports
}

func (a *Agent) dial() (*grpc.ClientConn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: a.Roots, ServerName: a.ServerName}
	if a.Certificate != nil {
		config.Certificates = []tls.Certificate{*a.Certificate}
	}
	return grpc.NewClient(a.Address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
}

// Enroll gets the agent a certificate.
func (a *Agent) Enroll(ctx context.Context, token string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := wire.NewSnapshotsClient(conn).Enroll(ctx, &wire.EnrollRequest{Token: token, Request: request})
	if err != nil {
		return err
	}
	a.Certificate = &tls.Certificate{Certificate: [][]byte{r.GetCertificate()}, PrivateKey: key}
	return nil
}

// Run connects and does what the controller says until the context or the
// stream ends.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := wire.NewSnapshotsClient(conn).Stream(ctx)
	if err != nil {
		return err
	}
	// A Send that comes too late says only EOF; Recv says why.
	if err := stream.Send(a.hello()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	if m.GetWelcome() == nil {
		return fmt.Errorf("first message is %T: %w", m.GetBody(), wire.ErrProtocol)
	}
	var sending sync.Mutex
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case r := <-a.reportChannel():
				sending.Lock()
				_ = stream.Send(&wire.AgentMessage{Body: &wire.AgentMessage_Report{Report: r}})
				sending.Unlock()
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { cancel(); <-done }()
	r := wire.Receiver{Node: a.Node}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		t, err := r.Receive(m)
		if err != nil {
			return err
		}
		if t == nil {
			continue
		}
		sending.Lock()
		err = stream.Send(a.answer(t))
		sending.Unlock()
		if err != nil {
			return err
		}
	}
}

func (a *Agent) hello() *wire.AgentMessage {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := &wire.Hello{Node: a.Node, Version: "fake", Formats: []uint32{snapshot.Format}}
	if !a.Older {
		h.Capabilities = []string{wire.CapabilityRuntime}
	}
	if a.set != nil {
		digest := a.set.Digest()
		h.Generation, h.Digest = wire.FromGeneration(a.generation), digest[:]
	}
	return &wire.AgentMessage{Body: &wire.AgentMessage_Hello{Hello: h}}
}

func (a *Agent) answer(t *wire.Transfer) *wire.AgentMessage {
	refuse := func(reason, message string) *wire.AgentMessage {
		return &wire.AgentMessage{Body: &wire.AgentMessage_Refuse{Refuse: &wire.Refuse{
			Generation: wire.FromGeneration(t.Commit.Generation), Reason: reason, Message: message,
		}}}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.transfers = append(a.transfers, Received{t.Base == nil, t.Commit.Generation, len(t.Delta.Upserts) + len(t.Delta.Deletes), t.Signature.Key})
	if a.Answer != nil {
		if r := a.Answer(t); r != nil {
			return refuse(r.GetReason(), r.GetMessage())
		}
	}
	if err := snapshot.Verify(a.Keys, t.Commit, t.Signature); err != nil {
		return refuse(wire.ReasonSignature, err.Error())
	}
	if a.set != nil && t.Commit.Generation.Compare(a.generation) <= 0 {
		return refuse(wire.ReasonReplay, t.Commit.Generation.String())
	}
	next := snapshot.NewSet()
	if t.Base != nil {
		if a.set == nil || a.set.Digest() != *t.Base {
			return refuse(wire.ReasonBase, "another state")
		}
		next = a.set.Clone()
	}
	next.Apply(t.Delta)
	if err := t.Commit.Check(next); err != nil {
		return refuse(wire.ReasonDamaged, err.Error())
	}
	a.set, a.generation = next, t.Commit.Generation
	return &wire.AgentMessage{Body: &wire.AgentMessage_Ack{Ack: &wire.Ack{
		Generation: wire.FromGeneration(a.generation), Digest: t.Commit.Digest[:],
	}}}
}
