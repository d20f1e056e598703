package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// File is a whole snapshot as it lies on disk: what a node enforces, and the
// signed commit that says so.
type File struct {
	Commit    Commit
	Signature Signature
	Set       *Set
}

const (
	fileMagic = "palisnap"
	// MaxFile is the size beyond which a file is not read.
	MaxFile = 1 << 30
	// entryLeast is the size of the smallest entry: table, two lengths.
	entryLeast = 3
)

var (
	// ErrDamaged: the bytes of a snapshot file are not those that were written.
	ErrDamaged = errors.New("file is damaged")
	// ErrFormat: a snapshot is of a format that this version does not read.
	ErrFormat = errors.New("format is not known")
	// ErrDigest: a snapshot's entries are not those that its commit names.
	ErrDigest = errors.New("digest does not match")
)

// AppendFile appends the file's encoding.
func AppendFile(b []byte, f *File) []byte {
	start := len(b)
	b = append(b, fileMagic...)
	b = appendCommit(b, f.Commit)
	b = append(b, f.Signature.Key[:]...)
	b = append(b, f.Signature.Sig[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(f.Set.Len()))
	for _, e := range f.Set.Entries() {
		b = appendEntry(b, e)
	}
	sum := sha256.Sum256(b[start:])
	return append(b, sum[:]...)
}

// ReadFile reads what AppendFile wrote. It checks that the file is whole, that
// every row is valid, that the entries have the digest that the commit names and
// belong to the commit's node. It does not check the signature: see File.Verify.
func ReadFile(b []byte) (*File, error) {
	body := len(b) - sha256.Size
	if body < len(fileMagic) || len(b) > MaxFile || !bytes.HasPrefix(b, []byte(fileMagic)) {
		return nil, fmt.Errorf("%d bytes: %w", len(b), ErrDamaged)
	}
	if sum := sha256.Sum256(b[:body]); !bytes.Equal(sum[:], b[body:]) {
		return nil, fmt.Errorf("trailing checksum: %w", ErrDamaged)
	}
	r := reader{b: b[len(fileMagic):body]}
	f := &File{Commit: r.commit()}
	if r.err == nil && f.Commit.Format != Format {
		return nil, fmt.Errorf("format %d: %w", f.Commit.Format, ErrFormat)
	}
	copy(f.Signature.Key[:], r.take(len(f.Signature.Key)))
	copy(f.Signature.Sig[:], r.take(len(f.Signature.Sig)))
	f.Set = r.entries()
	if err := r.end("snapshot file"); err != nil {
		return nil, err
	}
	return f, f.Commit.Check(f.Set)
}

// Check compares a set with the commit that names it.
func (c Commit) Check(s *Set) error {
	if got := s.Digest(); got != c.Digest {
		return fmt.Errorf("digest %s, commit of %s names %s: %w", got, c.Generation, c.Digest, ErrDigest)
	}
	meta, err := s.Meta()
	if err != nil {
		return err
	}
	if meta.Node != c.Node {
		return fmt.Errorf("snapshot of node %q in a commit for node %q: %w", meta.Node, c.Node, ErrDigest)
	}
	return nil
}

// Verify checks the file's signature.
func (f *File) Verify(keys Keys) error { return Verify(keys, f.Commit, f.Signature) }

func (r *reader) entries() *Set {
	n := r.uint64()
	if n > uint64(len(r.b)/entryLeast) {
		r.fail(errTruncated)
	}
	s := NewSet()
	var last EntryKey
	for i := uint64(0); i < n && r.err == nil; i++ {
		e := r.entry(true)
		if r.err == nil && CompareEntryKeys(last, e.ID()) >= 0 {
			r.fail(errOrder)
		}
		if r.err != nil {
			break
		}
		if _, err := Decode(e); err != nil {
			r.fail(err)
			break
		}
		last = e.ID()
		s.Put(e)
	}
	return s
}
