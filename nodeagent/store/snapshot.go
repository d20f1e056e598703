package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"palisade.dev/palisade/snapshot"
)

// Snapshots keeps what this node enforces: a whole snapshot, and a journal of the
// deltas that came after it, so that a small change costs a small write.
//
// A state is proposed before the kernel sees it and accepted when the kernel uses
// it, so that one that the kernel refuses never replaces one that it took. Not
// safe for concurrent use.
type Snapshots struct {
	dir     string
	tip     snapshot.Digest // of the accepted state on disk, if known
	known   bool
	base    int64 // bytes of the whole snapshot
	journal int64 // bytes of the journal's accepted frames
	pending pending
}

// pending is what was proposed and neither accepted nor dropped.
type pending struct {
	kind   pendingKind
	digest snapshot.Digest
	bytes  int64
}

type pendingKind int

const (
	pendingNone pendingKind = iota
	pendingFile
	pendingFrame
)

const (
	currentFile   = "snapshot"
	candidateFile = "snapshot.candidate"
	journalFile   = "snapshot.journal"
	// journalLeast is the size that a journal may have however small the snapshot is.
	journalLeast = 256 << 10
)

// NewSnapshots keeps snapshots in dir.
func NewSnapshots(dir string) *Snapshots { return &Snapshots{dir: dir} }

func (s *Snapshots) path(name string) string { return filepath.Join(s.dir, name) }

// Change is how a state came to be: by a delta from the state before.
type Change struct {
	From  snapshot.Digest
	Delta snapshot.Delta
}

// Propose writes a state. by may be nil; where it starts from what is on disk and
// is small, it alone is written.
func (s *Snapshots) Propose(f *snapshot.File, by *Change) error {
	if by != nil && s.known && by.From == s.tip {
		frame := appendFrame(nil, f.Commit, f.Signature, by.Delta)
		if s.journal+int64(len(frame)) <= max(s.base, journalLeast) {
			if err := s.append(frame); err != nil {
				return err
			}
			s.pending = pending{pendingFrame, f.Commit.Digest, int64(len(frame))}
			return nil
		}
	}
	b := snapshot.AppendFile(nil, f)
	if err := Replace(s.path(candidateFile), b); err != nil {
		return err
	}
	s.pending = pending{pendingFile, f.Commit.Digest, int64(len(b))}
	return nil
}

// append writes a frame behind the accepted ones, over what a crash may have left.
func (s *Snapshots) append(frame []byte) error {
	f, err := os.OpenFile(s.path(journalFile), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	err = f.Truncate(s.journal)
	if err == nil {
		_, err = f.WriteAt(frame, s.journal)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if s.journal == 0 {
		return syncDir(s.dir) // the file may be new
	}
	return nil
}

// Accept makes what was proposed the current state.
func (s *Snapshots) Accept() error {
	p := s.pending
	s.pending = pending{}
	switch p.kind {
	case pendingFrame:
		s.journal += p.bytes
	case pendingFile:
		s.known = false
		if err := os.Rename(s.path(candidateFile), s.path(currentFile)); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		if err := syncDir(s.dir); err != nil {
			return err
		}
		// The journal leads on from the former snapshot: its frames are older than
		// the new one, and Load would pass them over.
		if err := remove(s.path(journalFile)); err != nil {
			return err
		}
		s.base, s.journal = p.bytes, 0
	}
	s.tip, s.known = p.digest, true
	return nil
}

// Drop forgets what was proposed.
func (s *Snapshots) Drop() error {
	p := s.pending
	s.pending = pending{}
	switch p.kind {
	case pendingFrame:
		if err := os.Truncate(s.path(journalFile), s.journal); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	case pendingFile:
		return remove(s.path(candidateFile))
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// Load returns the states on disk that are whole and signed by one of keys,
// newest first: after a crash it may be what was proposed last that the kernel
// uses, or what was accepted before. What is not as it should be is left out and
// described by the error; the rest is good all the same.
func (s *Snapshots) Load(keys snapshot.Keys) ([]*snapshot.File, error) {
	var out []*snapshot.File
	var errs []error
	take := func(f *snapshot.File, path string, err error) {
		if err == nil && f != nil {
			err = f.Verify(keys)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("snapshot %s: %w", path, err))
		} else if f != nil {
			out = append(out, f)
		}
	}
	candidate, err := s.readFile(candidateFile)
	take(candidate, s.path(candidateFile), err)
	current, err := s.readFile(currentFile)
	if current == nil {
		take(nil, s.path(currentFile), err)
		return out, errors.Join(errs...)
	}
	states, err := s.replay(current)
	if err != nil {
		take(nil, s.path(journalFile), err)
	}
	for _, f := range states {
		take(f, s.path(currentFile), nil)
	}
	if len(out) > 1 && out[0].Commit.Generation.Compare(out[1].Commit.Generation) < 0 {
		out = append(out[1:], out[0])
	}
	return out, errors.Join(errs...)
}

func (s *Snapshots) readFile(name string) (*snapshot.File, error) {
	b, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return snapshot.ReadFile(b)
}

// replay leads a whole snapshot on by the journal. It returns the last two states.
func (s *Snapshots) replay(f *snapshot.File) ([]*snapshot.File, error) {
	b, err := os.ReadFile(s.path(journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return []*snapshot.File{f}, nil
	}
	if err != nil {
		return []*snapshot.File{f}, err
	}
	at, undo := *f, (*frame)(nil) // undo leads at back to the state before it
	for len(b) > 0 {
		var next frame
		if next, b, err = readFrame(b, f.Commit.Node); err != nil {
			break
		}
		if next.commit.Generation.Compare(at.Commit.Generation) <= 0 {
			continue // of before the whole snapshot
		}
		back := frame{at.Commit, at.Signature, Inverse(at.Set, next.delta)}
		at.Set.Apply(next.delta)
		if err = next.commit.Check(at.Set); err != nil {
			at.Set.Apply(back.delta)
			break
		}
		at.Commit, at.Signature, undo = next.commit, next.sig, &back
	}
	states := []*snapshot.File{&at}
	if undo != nil {
		before := at.Set.Clone()
		before.Apply(undo.delta)
		states = append(states, &snapshot.File{Commit: undo.commit, Signature: undo.sig, Set: before})
	}
	return states, err
}

// Inverse is the delta that takes a set back after d was applied to it.
func Inverse(set *snapshot.Set, d snapshot.Delta) (undo snapshot.Delta) {
	for _, e := range d.Upserts {
		if was, ok := set.Get(e.ID()); ok {
			undo.Upserts = append(undo.Upserts, snapshot.Entry{Table: e.Table, Key: e.Key, Value: was})
		} else {
			undo.Deletes = append(undo.Deletes, e.ID())
		}
	}
	for _, id := range d.Deletes {
		if was, ok := set.Get(id); ok {
			undo.Upserts = append(undo.Upserts, snapshot.Entry{Table: id.Table, Key: []byte(id.Key), Value: was})
		}
	}
	return undo
}
