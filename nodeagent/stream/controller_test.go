package stream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"palisade.dev/palisade/snapshot/wire"
)

const (
	node       = "n1"
	serverName = "palisade-controller.palisade-system.svc"
)

// controller is a real gRPC server with mutual TLS; what it says on a stream is
// the test's.
type controller struct {
	wire.UnimplementedSnapshotsServer
	addr, caFile, tokenFile string
	ca                      *x509.Certificate
	caKey                   *ecdsa.PrivateKey
	life                    time.Duration
	namedNode               string

	mu      sync.Mutex
	talk    func(conversation) error
	enroled int
}

func (c *controller) serve(f func(conversation) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.talk = f
}

func startController(t *testing.T) *controller {
	t.Helper()
	c := &controller{life: time.Hour, namedNode: node}
	c.caKey = newKey(t)
	c.ca = c.certificate(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, c.caKey)
	dir := t.TempDir()
	c.caFile, c.tokenFile = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	write(t, c.caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.ca.Raw})))
	write(t, c.tokenFile, "good\n")

	key := newKey(t)
	leaf := c.certificate(t, &x509.Certificate{DNSNames: []string{serverName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key)
	pool := x509.NewCertPool()
	pool.AddCert(c.ca)
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
		ClientAuth:   tls.VerifyClientCertIfGiven, ClientCAs: pool, MinVersion: tls.VersionTLS13,
	})))
	wire.RegisterSnapshotsServer(srv, c)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.addr = l.Addr().String()
	done := make(chan error)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		<-done
	})
	return c
}

func (c *controller) enroller(t *testing.T) *Enroller {
	t.Helper()
	return &Enroller{Address: c.addr, ServerName: serverName, Trust: Trust{Mounted: filepath.Dir(c.caFile)}, TokenFile: c.tokenFile, Node: node, Now: time.Now}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (c *controller) certificate(t *testing.T, tmpl *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := c.issue(tmpl, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (c *controller) issue(tmpl *x509.Certificate, pub any) ([]byte, error) {
	tmpl.SerialNumber = big.NewInt(time.Now().UnixNano())
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(c.life)
	parent := c.ca
	if parent == nil {
		parent = tmpl
	}
	return x509.CreateCertificate(rand.Reader, tmpl, parent, pub, c.caKey)
}

func (c *controller) Enroll(_ context.Context, r *wire.EnrollRequest) (*wire.EnrollResponse, error) {
	if r.GetToken() != "good" {
		return nil, status.Error(codes.Unauthenticated, "token is not good")
	}
	csr, err := x509.ParseCertificateRequest(r.GetRequest())
	if err != nil {
		return nil, err
	}
	der, err := c.issue(&x509.Certificate{URIs: []*url.URL{{Scheme: "palisade", Host: "node", Path: "/" + node}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, csr.PublicKey)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enroled++
	return &wire.EnrollResponse{Certificate: der, Node: c.namedNode}, err
}

func (c *controller) Stream(st conversation) error {
	p, _ := peer.FromContext(st.Context())
	if info, ok := p.AuthInfo.(credentials.TLSInfo); !ok || len(info.State.VerifiedChains) == 0 {
		return status.Error(codes.Unauthenticated, "no client certificate")
	}
	c.mu.Lock()
	talk := c.talk
	c.mu.Unlock()
	return talk(st)
}

func TestEnrolment(t *testing.T) {
	tests := map[string]struct {
		spoil func(*testing.T, *controller, *Enroller)
		want  string
	}{
		"good":              {func(*testing.T, *controller, *Enroller) {}, ""},
		"bad token":         {func(t *testing.T, c *controller, _ *Enroller) { write(t, c.tokenFile, "stolen") }, "token is not good"},
		"no token":          {func(_ *testing.T, _ *controller, e *Enroller) { e.TokenFile = "/nonexistent" }, "/nonexistent"},
		"no authority yet":  {func(_ *testing.T, _ *controller, e *Enroller) { e.Trust.Mounted = "/nonexistent" }, "not published its authority"},
		"authority damaged": {func(t *testing.T, c *controller, _ *Enroller) { write(t, c.caFile, "x") }, "no certificate in it"},
		"another authority": {func(t *testing.T, _ *controller, e *Enroller) {
			e.Trust.Mounted = filepath.Dir(startController(t).caFile)
		}, "certificate"},
		"another server": {func(_ *testing.T, _ *controller, e *Enroller) { e.ServerName = "evil.example" }, "evil.example"},
		"another node":   {func(_ *testing.T, c *controller, _ *Enroller) { c.namedNode = "n2" }, `on node "n2"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := startController(t)
			e := c.enroller(t)
			tc.spoil(t, c, e)
			conn, err := e.Dial(context.Background())
			if err == nil {
				conn.Close()
			}
			if (tc.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Dial: %v, want %q", err, tc.want)
			}
		})
	}
}

func TestCertificateIsRenewedAfterTwoThirds(t *testing.T) {
	c := startController(t)
	e := c.enroller(t)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {30 * time.Minute, 1}, {41 * time.Minute, 2}} {
		e.Now = func() time.Time { return time.Now().Add(step.after) }
		conn, err := e.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if c.enroled != step.want {
			t.Errorf("after %s: enrolled %d times, want %d", step.after, c.enroled, step.want)
		}
	}
}
