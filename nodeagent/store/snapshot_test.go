package store

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"palisade.dev/palisade/snapshot"
)

var (
	key   = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	other = ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", ed25519.SeedSize)))
	keys  = snapshot.NewKeys(key.Public().(ed25519.PublicKey))
)

// state is the set number n: its neighbours differ from it by one row.
func state(n uint64) *snapshot.Set {
	set := snapshot.NewSet(snapshot.Encode(snapshot.MetaRow{Node: "n1"}))
	for i := range n {
		set.Put(snapshot.Encode(snapshot.LocalRow{UID: fmt.Sprintf("pod-%03d", i), Namespace: "n", Name: strings.Repeat("p", 200)}))
	}
	return set
}

func fileOf(n uint64, k ed25519.PrivateKey) *snapshot.File {
	set := state(n)
	c := snapshot.Commit{Node: "n1", Format: snapshot.Format, Generation: snapshot.Generation{Counter: n}, Digest: set.Digest()}
	return &snapshot.File{Commit: c, Signature: snapshot.Sign(k, c), Set: set}
}

func by(n uint64) *Change {
	return &Change{From: state(n - 1).Digest(), Delta: snapshot.Diff(state(n-1), state(n))}
}

func counters(fs []*snapshot.File) (out []uint64) {
	for _, f := range fs {
		out = append(out, f.Commit.Generation.Counter)
	}
	return out
}

func TestSnapshots(t *testing.T) {
	whole := func(n uint64) func(*Snapshots) error {
		return func(s *Snapshots) error { return s.Propose(fileOf(n, key), nil) }
	}
	delta := func(n uint64) func(*Snapshots) error {
		return func(s *Snapshots) error { return s.Propose(fileOf(n, key), by(n)) }
	}
	damage := func(name string, size int64) func(*Snapshots) error {
		return func(s *Snapshots) error { return os.Truncate(s.path(name), size) }
	}
	accept, drop := (*Snapshots).Accept, (*Snapshots).Drop
	restart := func(s *Snapshots) error { *s = *NewSnapshots(s.dir); return nil }
	type do = []func(*Snapshots) error
	tests := map[string]struct {
		do   do
		want []uint64
		err  error
	}{
		"nothing":              {do{}, nil, nil},
		"accepted":             {do{whole(1), accept}, []uint64{1}, nil},
		"crash before accept":  {do{whole(1), accept, whole(2)}, []uint64{2, 1}, nil},
		"refused":              {do{whole(1), accept, whole(2), drop, drop}, []uint64{1}, nil},
		"damaged":              {do{whole(1), accept, damage("snapshot", 100)}, nil, snapshot.ErrDamaged},
		"emptied":              {do{whole(1), accept, damage("snapshot", 0)}, nil, snapshot.ErrDamaged},
		"deltas":               {do{whole(1), accept, delta(2), accept, delta(3), accept}, []uint64{3, 2}, nil},
		"delta, crash":         {do{whole(1), accept, delta(2)}, []uint64{2, 1}, nil},
		"delta refused":        {do{whole(1), accept, delta(2), drop}, []uint64{1}, nil},
		"over a refused one":   {do{whole(1), accept, delta(2), drop, whole(1), accept, delta(2), accept}, []uint64{2, 1}, nil},
		"delta from elsewhere": {do{whole(1), accept, delta(7), accept}, []uint64{7}, nil},
		"delta after a start":  {do{whole(1), accept, restart, delta(2), accept}, []uint64{2}, nil},
		"whole after deltas":   {do{whole(1), accept, delta(2), accept, whole(5), accept, delta(6), accept}, []uint64{6, 5}, nil},
		"torn frame":           {do{whole(1), accept, delta(2), accept, delta(3), accept, damage("snapshot.journal", 400)}, []uint64{2, 1}, snapshot.ErrDamaged},
		"candidate unsigned": {do{whole(1), accept, func(s *Snapshots) error {
			return s.Propose(fileOf(2, other), nil)
		}}, []uint64{1}, snapshot.ErrUnknownKey},
		"frame unsigned": {do{whole(1), accept, func(s *Snapshots) error {
			return s.Propose(fileOf(2, other), by(2))
		}}, []uint64{1}, snapshot.ErrUnknownKey},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := NewSnapshots(t.TempDir())
			for i, f := range tc.do {
				if err := f(s); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
			}
			fs, err := NewSnapshots(s.dir).Load(keys)
			if got := counters(fs); fmt.Sprint(got) != fmt.Sprint(tc.want) {
				t.Errorf("loaded %v, want %v (%v)", got, tc.want, err)
			}
			if !errors.Is(err, tc.err) || (tc.err != nil && !strings.Contains(err.Error(), s.dir)) {
				t.Errorf("err = %v, want %v with the file's name", err, tc.err)
			}
			for _, f := range fs {
				if err := f.Commit.Check(f.Set); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// The journal does not grow without end, and a small change is a small write.
func TestJournalIsBounded(t *testing.T) {
	s := NewSnapshots(t.TempDir())
	if err := errors.Join(s.Propose(fileOf(1, key), nil), s.Accept()); err != nil {
		t.Fatal(err)
	}
	set, wholes := state(1), 0
	for n := uint64(2); n < 1500; n++ {
		before := set.Digest()
		row := snapshot.Encode(snapshot.LocalRow{UID: "pod", Namespace: "n", Name: fmt.Sprint(n, strings.Repeat("p", 200))})
		set.Put(row)
		c := snapshot.Commit{Node: "n1", Format: snapshot.Format, Generation: snapshot.Generation{Counter: n}, Digest: set.Digest()}
		f := &snapshot.File{Commit: c, Signature: snapshot.Sign(key, c), Set: set}
		if err := s.Propose(f, &Change{before, snapshot.Delta{Upserts: []snapshot.Entry{row}}}); err != nil {
			t.Fatal(err)
		}
		if s.pending.kind == pendingFile {
			wholes++
		}
		if err := s.Accept(); err != nil {
			t.Fatal(err)
		}
		if s.journal > journalLeast {
			t.Fatalf("journal of %d bytes", s.journal)
		}
	}
	if wholes < 2 || wholes > 20 {
		t.Errorf("the whole snapshot was written %d times in 1500 changes", wholes)
	}
	if fs, err := NewSnapshots(s.dir).Load(keys); err != nil || counters(fs)[0] != 1499 {
		t.Errorf("loaded %v, %v", counters(fs), err)
	}
}

func FuzzReadFrame(f *testing.F) {
	file := fileOf(2, key)
	f.Add(appendFrame(nil, file.Commit, file.Signature, by(2).Delta))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, rest, err := readFrame(b, "n1")
		if err != nil {
			return
		}
		again, _, err := readFrame(appendFrame(nil, fr.commit, fr.sig, fr.delta), "n1")
		if err != nil || again.commit != fr.commit || len(rest) > len(b) {
			t.Errorf("what was read is not what is written: %v", err)
		}
	})
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
