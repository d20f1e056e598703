package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"palisade.dev/palisade/snapshot"
)

// Snapshots keeps what this node enforces. A snapshot is written as a candidate
// before the kernel sees it and becomes the current one when the kernel uses it,
// so that one that the kernel refuses never replaces one that it took.
type Snapshots struct{ Dir string }

const (
	currentFile   = "snapshot"
	candidateFile = "snapshot.candidate"
)

// Propose writes a candidate.
func (s Snapshots) Propose(f *snapshot.File) error {
	return Replace(filepath.Join(s.Dir, candidateFile), snapshot.AppendFile(nil, f))
}

// Accept makes the candidate the current snapshot.
func (s Snapshots) Accept() error {
	if err := os.Rename(filepath.Join(s.Dir, candidateFile), filepath.Join(s.Dir, currentFile)); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return syncDir(s.Dir)
}

// Drop forgets the candidate.
func (s Snapshots) Drop() error {
	err := os.Remove(filepath.Join(s.Dir, candidateFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// Load returns the snapshots on disk that are whole and signed by one of keys,
// newest first: after a crash the candidate may be what the kernel uses. Files
// that are not as they should be are left out and described by the error; the
// others are good all the same.
func (s Snapshots) Load(keys snapshot.Keys) ([]*snapshot.File, error) {
	var out []*snapshot.File
	var errs []error
	for _, name := range []string{candidateFile, currentFile} {
		path := filepath.Join(s.Dir, name)
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var f *snapshot.File
		if err == nil {
			f, err = snapshot.ReadFile(b)
		}
		if err == nil {
			err = f.Verify(keys)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("snapshot %s: %w", path, err))
			continue
		}
		out = append(out, f)
	}
	if len(out) == 2 && out[0].Commit.Generation.Compare(out[1].Commit.Generation) < 0 {
		out[0], out[1] = out[1], out[0]
	}
	return out, errors.Join(errs...)
}
