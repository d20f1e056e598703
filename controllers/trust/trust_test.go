package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func request(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"other-node"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestNodeCertificate(t *testing.T) {
	a, err := NewAuthority(start)
	if err != nil {
		t.Fatal(err)
	}
	der, err := a.Node(start, "node-a", request(t))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(at time.Time, usage x509.ExtKeyUsage) error {
		_, err := cert.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}})
		return err
	}
	if node, err := NodeOf(cert); err != nil || node != "node-a" || len(cert.DNSNames) > 0 {
		t.Errorf("node %q, names %v, %v", node, cert.DNSNames, err)
	}
	if err := verify(start, x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if verify(start, x509.ExtKeyUsageServerAuth) == nil {
		t.Error("an agent's certificate can pose as the controller")
	}
	if verify(start.Add(nodeLifetime+time.Second), x509.ExtKeyUsageClientAuth) == nil {
		t.Error("valid beyond its lifetime")
	}
	broken := request(t)
	broken[len(broken)-1] ^= 1
	if _, err := a.Node(start, "node-a", broken); err == nil {
		t.Error("request with a broken signature accepted")
	}
}

func TestServerCertificateNamesNoNode(t *testing.T) {
	a, err := NewAuthority(start)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Server(start, []string{"palisade-controller.palisade-system.svc"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if node, err := NodeOf(cert.Leaf); err == nil {
		t.Errorf("names node %q", node)
	}
}

func TestMaterialSurvivesTheSecret(t *testing.T) {
	m, changed, err := renew(nil, start)
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	authority, _ := m.Authority.keyPEM()
	signing, _ := m.Signing.pem()
	data := map[string][]byte{AuthorityKey: m.Authority.CertificatePEM(), authorityPriv: authority, signingPriv: signing}
	again, changed, err := renew(data, start.Add(time.Hour))
	if err != nil || changed {
		t.Fatal(changed, err)
	}
	if string(again.Authority.CertificatePEM()) != string(m.Authority.CertificatePEM()) || !again.Signing[0].Private.Equal(m.Signing[0].Private) {
		t.Error("the material changed on its way through the Secret")
	}
	other, _ := NewAuthority(start)
	data[AuthorityKey] = other.CertificatePEM()
	if _, _, err := renew(data, start); err == nil {
		t.Error("a certificate and a key that do not belong together are accepted")
	}
}

// TestSigningKeysOverlap walks through two rotations by the hour: at every
// moment the key that signs has been published for the overlap, and the key
// that signed until an overlap ago is still trusted.
func TestSigningKeysOverlap(t *testing.T) {
	type moment struct {
		active  SigningKey
		trusted SigningKeys
	}
	var keys SigningKeys
	var history []moment
	actives := map[string]bool{}
	for now := start; now.Before(start.Add(2*signingLifetime + 5*overlap)); now = now.Add(time.Hour) {
		next, _, err := keys.Rotate(now, FreshKey)
		if err != nil {
			t.Fatal(err)
		}
		keys = next
		active := keys.Active(now)
		actives[string(active.Private)] = true
		history = append(history, moment{active, keys})
		if i := len(history) - 1 - int(overlap/time.Hour); i >= 0 {
			if !trusts(history[i].trusted, active) {
				t.Fatalf("at %v the signing key has not been published for %v", now, overlap)
			}
			if !trusts(keys, history[i].active) {
				t.Fatalf("at %v the key that signed %v ago is not trusted any more", now, overlap)
			}
		}
		if len(keys) > 2 {
			t.Fatalf("%d keys at %v", len(keys), now)
		}
	}
	if len(actives) != 3 {
		t.Errorf("%d keys have signed, want 3", len(actives))
	}
}

func trusts(keys SigningKeys, key SigningKey) bool {
	for _, k := range keys {
		if k.Private.Equal(key.Private) {
			return true
		}
	}
	return false
}
