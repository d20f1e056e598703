package nodeagent

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/snapshot"
)

var zeroGeneration snapshot.Generation

// ErrLocked says that another process works on this node's state.
var ErrLocked = errors.New("another agent or palisade apply is at work")

func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
