package stream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"palisade.dev/palisade/snapshot/wire"
)

// Enroller connects to the controller as this node. It gets a certificate with
// the pod's projected token and renews it after two thirds of its life. The
// private key never leaves the process. Not safe for concurrent use.
type Enroller struct {
	Address    string // host:port
	ServerName string // the name in the controller's certificate
	Trust      Trust  // read at every connect: the authority may be replaced
	TokenFile  string // read at every enrolment: kubelet renews it
	Node       string
	Now        func() time.Time

	cert *tls.Certificate
}

// enrolTimeout bounds one enrolment, so that a controller that accepts the
// connection and says nothing does not hold the agent.
const enrolTimeout = 5 * time.Second

// connectTimeout bounds one attempt to connect: the address of a controller that
// is gone may swallow packets.
const connectTimeout = 3 * time.Second

var errNoAuthority = errors.New("the controller's authority has no certificate in it")

// Dial connects with a certificate that is good for a while.
func (e *Enroller) Dial(ctx context.Context) (*grpc.ClientConn, error) {
	roots, err := e.roots(ctx)
	if err != nil {
		return nil, err
	}
	if e.worn() {
		if err := e.enrol(ctx, roots); err != nil {
			return nil, fmt.Errorf("enrolment of node %s at %s: %w", e.Node, e.Address, err)
		}
	}
	return e.connect(roots, e.cert)
}

func (e *Enroller) roots(ctx context.Context) (*x509.CertPool, error) {
	b, err := e.Trust.authority(ctx)
	if err != nil {
		return nil, fmt.Errorf("the controller has not published its authority yet: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, errNoAuthority
	}
	return pool, nil
}

func (e *Enroller) worn() bool {
	if e.cert == nil {
		return true
	}
	life := e.cert.Leaf.NotAfter.Sub(e.cert.Leaf.NotBefore)
	return e.Now().After(e.cert.Leaf.NotBefore.Add(life * 2 / 3))
}

func (e *Enroller) connect(roots *x509.CertPool, cert *tls.Certificate) (*grpc.ClientConn, error) {
	conf := &tls.Config{RootCAs: roots, ServerName: e.ServerName, MinVersion: tls.VersionTLS13}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	conn, err := grpc.NewClient(e.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(conf)),
		// A node whose controller vanished without a word must learn of it.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fmt.Errorf("controller %s: %w", e.Address, err)
	}
	return conn, nil
}

func (e *Enroller) enrol(ctx context.Context, roots *x509.CertPool) error {
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	token, err := os.ReadFile(e.TokenFile)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: e.Node}}, key)
	if err != nil {
		return err
	}
	conn, err := e.connect(roots, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	resp, err := wire.NewSnapshotsClient(conn).Enroll(ctx, &wire.EnrollRequest{Token: strings.TrimSpace(string(token)), Request: request})
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(resp.GetCertificate())
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if pub, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(key.Public()) {
		return errors.New("certificate is for another key")
	}
	if resp.GetNode() != e.Node {
		return fmt.Errorf("the controller takes this pod to be on node %q: NODE_NAME must be the pod's spec.nodeName", resp.GetNode())
	}
	e.cert = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	return nil
}
