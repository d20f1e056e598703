package facts

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// CurrentEpoch is the epoch of this boot and of this process's network namespace.
func CurrentEpoch() (Epoch, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Epoch{}, fmt.Errorf("boot id: %w", err)
	}
	ino, err := netnsInode("/proc/thread-self/ns/net")
	if err != nil {
		return Epoch{}, err
	}
	return Epoch{Boot: strings.TrimSpace(string(b)), Netns: ino}, nil
}

func netnsInode(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("network namespace %s: %w", path, err)
	}
	return st.Ino, nil
}
