package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"palisade.dev/palisade/snapshot"
)

// The life of a signing key: it is published when it is made, signs from
// overlap later on (the first one at once), and is dropped when its successor
// has signed for another overlap. Agents read the published keys many times in
// that span.
const (
	signingLifetime = 90 * 24 * time.Hour
	overlap         = 24 * time.Hour
)

// SigningKey is one key that signs snapshots.
type SigningKey struct {
	Private ed25519.PrivateKey
	Created time.Time
}

// SigningKeys are the keys that are trusted at present, oldest first.
type SigningKeys []SigningKey

// Public returns the public halves.
func (k SigningKeys) Public() snapshot.Keys {
	var public []ed25519.PublicKey
	for _, key := range k {
		public = append(public, key.Private.Public().(ed25519.PublicKey))
	}
	return snapshot.NewKeys(public...)
}

// Active returns the key that signs now: the newest one that agents have had
// time to learn, else the oldest.
func (k SigningKeys) Active(now time.Time) SigningKey {
	for _, key := range slices.Backward(k) {
		if now.Sub(key.Created) >= overlap {
			return key
		}
	}
	return k[0]
}

// Rotate returns the keys as they should be now, made with fresh where one is
// missing or about to wear out, and whether anything changed.
func (k SigningKeys) Rotate(now time.Time, fresh func() (ed25519.PrivateKey, error)) (SigningKeys, bool, error) {
	out, changed := slices.Clone(k), false
	if len(out) == 0 || now.Sub(out[len(out)-1].Created) >= signingLifetime {
		key, err := fresh()
		if err != nil {
			return nil, false, fmt.Errorf("signing key: %w", err)
		}
		out, changed = append(out, SigningKey{key, now.UTC().Truncate(time.Second)}), true
	}
	for len(out) > 1 && now.Sub(out[1].Created) >= 2*overlap {
		out, changed = out[1:], true
	}
	return out, changed, nil
}

// FreshKey makes a signing key.
func FreshKey() (ed25519.PrivateKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return private, err
}

const createdHeader = "Created"

func (k SigningKeys) pem() ([]byte, error) {
	var out []byte
	for _, key := range k {
		der, err := x509.MarshalPKCS8PrivateKey(key.Private)
		if err != nil {
			return nil, fmt.Errorf("signing key: %w", err)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{
			Type: "PRIVATE KEY", Headers: map[string]string{createdHeader: key.Created.Format(time.RFC3339)}, Bytes: der,
		})...)
	}
	return out, nil
}

func parseSigningKeys(text []byte) (SigningKeys, error) {
	var out SigningKeys
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		key, ok := private.(ed25519.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("key is a %T", private)
		}
		created, err := time.Parse(time.RFC3339, block.Headers[createdHeader])
		if err != nil {
			return nil, err
		}
		out = append(out, SigningKey{key, created})
	}
	if len(out) == 0 {
		return nil, errors.New("no key")
	}
	slices.SortFunc(out, func(a, b SigningKey) int { return a.Created.Compare(b.Created) })
	return out, nil
}
