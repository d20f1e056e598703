package store

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"palisade.dev/palisade/snapshot"
)

var key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func fileOf(counter uint64, k ed25519.PrivateKey) *snapshot.File {
	set := snapshot.NewSet(snapshot.Encode(snapshot.MetaRow{Node: "n1"}), snapshot.Encode(snapshot.LocalRow{UID: string(rune('a' + counter)), Namespace: "n", Name: "p"}))
	c := snapshot.Commit{Node: "n1", Format: snapshot.Format, Generation: snapshot.Generation{Counter: counter}, Digest: set.Digest()}
	return &snapshot.File{Commit: c, Signature: snapshot.Sign(k, c), Set: set}
}

func counters(fs []*snapshot.File) (out []uint64) {
	for _, f := range fs {
		out = append(out, f.Commit.Generation.Counter)
	}
	return out
}

func TestSnapshots(t *testing.T) {
	keys := snapshot.NewKeys(key.Public().(ed25519.PublicKey))
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	tests := map[string]struct {
		do   func(s Snapshots) error
		want []uint64
		err  error
	}{
		"nothing":  {func(Snapshots) error { return nil }, nil, nil},
		"accepted": {func(s Snapshots) error { return errors.Join(s.Propose(fileOf(1, key)), s.Accept()) }, []uint64{1}, nil},
		"crash before accept": {func(s Snapshots) error {
			return errors.Join(s.Propose(fileOf(1, key)), s.Accept(), s.Propose(fileOf(2, key)))
		}, []uint64{2, 1}, nil},
		"refused": {func(s Snapshots) error {
			return errors.Join(s.Propose(fileOf(1, key)), s.Accept(), s.Propose(fileOf(2, key)), s.Drop(), s.Drop())
		}, []uint64{1}, nil},
		"candidate unsigned": {func(s Snapshots) error {
			return errors.Join(s.Propose(fileOf(1, key)), s.Accept(), s.Propose(fileOf(2, other)))
		}, []uint64{1}, snapshot.ErrUnknownKey},
		"damaged": {func(s Snapshots) error {
			return errors.Join(s.Propose(fileOf(1, key)), s.Accept(), os.Truncate(filepath.Join(s.Dir, "snapshot"), 100))
		}, nil, snapshot.ErrDamaged},
		"emptied": {func(s Snapshots) error {
			return errors.Join(s.Propose(fileOf(1, key)), s.Accept(), os.Truncate(filepath.Join(s.Dir, "snapshot"), 0))
		}, nil, snapshot.ErrDamaged},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := Snapshots{t.TempDir()}
			if err := tc.do(s); err != nil {
				t.Fatal(err)
			}
			fs, err := s.Load(keys)
			if got := counters(fs); len(got) != len(tc.want) || (len(got) > 0 && got[0] != tc.want[0]) {
				t.Errorf("loaded %v, want %v", got, tc.want)
			}
			if !errors.Is(err, tc.err) || (tc.err != nil && !strings.Contains(err.Error(), s.Dir)) {
				t.Errorf("err = %v, want %v with the file's name", err, tc.err)
			}
		})
	}
}

func TestReplaceLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, c := range []string{"one", "two"} {
		if err := Replace(path, []byte(c)); err != nil {
			t.Fatal(err)
		}
	}
	es, err := os.ReadDir(dir)
	if b, _ := os.ReadFile(path); err != nil || len(es) != 1 || string(b) != "two" {
		t.Errorf("dir %v, content %q, err %v", es, b, err)
	}
	if err := Replace(filepath.Join(dir, "none/f"), nil); err == nil {
		t.Error("no such directory, no error")
	}
}
