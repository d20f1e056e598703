package snapshot

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Format is the version of everything that README.md describes. It changes when
// a reader of the old one would misread or refuse the new one.
const Format uint32 = 1

// Generation orders snapshots. Epoch is raised by an operator after etcd was
// restored from a backup, Term counts the transitions of the leaders' Lease,
// Counter the snapshots that one leader published: two leaders cannot mint the
// same one.
type Generation struct {
	Epoch   uint32
	Term    uint32
	Counter uint64
}

// Compare is negative where g is older than other.
func (g Generation) Compare(other Generation) int {
	return cmp.Or(cmp.Compare(g.Epoch, other.Epoch), cmp.Compare(g.Term, other.Term), cmp.Compare(g.Counter, other.Counter))
}

// String is EPOCH.TERM.COUNTER.
func (g Generation) String() string {
	return fmt.Sprintf("%d.%d.%d", g.Epoch, g.Term, g.Counter)
}

// ParseGeneration reads what String prints.
func ParseGeneration(s string) (Generation, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return Generation{}, fmt.Errorf("generation %q: want EPOCH.TERM.COUNTER", s)
	}
	epoch, err1 := strconv.ParseUint(parts[0], 10, 32)
	term, err2 := strconv.ParseUint(parts[1], 10, 32)
	counter, err3 := strconv.ParseUint(parts[2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Generation{}, fmt.Errorf("generation %q: %w", s, err)
	}
	return Generation{uint32(epoch), uint32(term), counter}, nil
}

// Commit is what a signature covers: it closes a snapshot and binds its content
// to a node and a place in the order of generations.
type Commit struct {
	Node       string
	Format     uint32
	Generation Generation
	Digest     Digest
}

func appendCommit(b []byte, c Commit) []byte {
	b = binary.BigEndian.AppendUint32(b, c.Format)
	b = appendString(b, c.Node)
	b = binary.BigEndian.AppendUint32(b, c.Generation.Epoch)
	b = binary.BigEndian.AppendUint32(b, c.Generation.Term)
	b = binary.BigEndian.AppendUint64(b, c.Generation.Counter)
	return append(b, c.Digest[:]...)
}

func (r *reader) commit() Commit {
	c := Commit{Format: r.uint32(), Node: r.name()}
	c.Generation = Generation{Epoch: r.uint32(), Term: r.uint32(), Counter: r.uint64()}
	copy(c.Digest[:], r.take(len(c.Digest)))
	return c
}

// KeyID names a signing key: the first 8 bytes of its public half's SHA-256.
type KeyID [8]byte

// String is the key's name in hexadecimal.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// KeyIDOf names a public key.
func KeyIDOf(key ed25519.PublicKey) KeyID {
	sum := sha256.Sum256(key)
	return KeyID(sum[:8])
}

// Keys are the public keys that a verifier trusts. While a key is rotated, both
// the old and the new one are in it.
type Keys map[KeyID]ed25519.PublicKey

// NewKeys returns the set of the given keys.
func NewKeys(keys ...ed25519.PublicKey) Keys {
	out := make(Keys, len(keys))
	for _, k := range keys {
		out[KeyIDOf(k)] = k
	}
	return out
}

// Signature is an Ed25519 signature of a commit and the key that made it.
type Signature struct {
	Key KeyID
	Sig [ed25519.SignatureSize]byte
}

var (
	// ErrUnknownKey: a snapshot is signed by a key that is not trusted.
	ErrUnknownKey = errors.New("signed by a key that is not trusted")
	// ErrSignature: a snapshot's signature is not that of its commit.
	ErrSignature = errors.New("signature does not match")
)

// signed is what is signed: the commit under a name of its own, so that the key
// signs nothing else by accident.
func signed(c Commit) []byte {
	return appendCommit([]byte("palisade snapshot commit\x00"), c)
}

// Sign signs a commit.
func Sign(key ed25519.PrivateKey, c Commit) Signature {
	s := Signature{Key: KeyIDOf(key.Public().(ed25519.PublicKey))}
	copy(s.Sig[:], ed25519.Sign(key, signed(c)))
	return s
}

// Verify checks a commit's signature against the trusted keys.
func Verify(keys Keys, c Commit, s Signature) error {
	key, ok := keys[s.Key]
	if !ok {
		return fmt.Errorf("key %s: %w", s.Key, ErrUnknownKey)
	}
	if !ed25519.Verify(key, signed(c), s.Sig[:]) {
		return fmt.Errorf("key %s: %w", s.Key, ErrSignature)
	}
	return nil
}

// MarshalText renders public keys one a line, as KEYID BASE-16-KEY, sorted.
func (k Keys) MarshalText() ([]byte, error) {
	lines := make([]string, 0, len(k))
	for id, key := range k {
		lines = append(lines, id.String()+" "+hex.EncodeToString(key)+"\n")
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, "")), nil
}

// UnmarshalText reads what MarshalText rendered and checks every key's name.
func (k *Keys) UnmarshalText(text []byte) error {
	out := Keys{}
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		id, key, _ := strings.Cut(string(line), " ")
		raw, err := hex.DecodeString(key)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return fmt.Errorf("line %d: not a public key of %d bytes", i+1, ed25519.PublicKeySize)
		}
		if got := KeyIDOf(raw).String(); got != id {
			return fmt.Errorf("line %d: key %s is called %s", i+1, got, id)
		}
		out[KeyIDOf(raw)] = raw
	}
	*k = out
	return nil
}
