package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	disk       = "/disk"
	diskDevice = "/dev/vda"
)

// mounts are what a node with cgroup version 2 has.
var mounts = []struct{ kind, at, options string }{
	{"proc", "/proc", ""},
	{"sysfs", "/sys", ""},
	{"devtmpfs", "/dev", ""},
	{"devpts", "/dev/pts", ""},
	{"tmpfs", "/dev/shm", ""},
	{"tmpfs", "/tmp", "mode=1777"},
	{"tmpfs", "/run", "mode=755"},
	{"securityfs", "/sys/kernel/security", ""},
	{"debugfs", "/sys/kernel/debug", ""},
	{"tracefs", "/sys/kernel/tracing", ""},
	{"bpf", "/sys/fs/bpf", "mode=700"},
	{"cgroup2", "/sys/fs/cgroup", ""},
}

// ownRoot puts a mount over the first root file system, which is the one that
// pivot_root refuses to leave: container runtimes pivot here as they do on a node.
func ownRoot() error {
	const at = "/.root"
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/", at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind / on %s: %w", at, err)
	}
	if err := unix.Chdir(at); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to /: %w", at, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return os.Chdir("/")
}

func prepare() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.options); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.at, err)
		}
	}
	// Programs expect these; devtmpfs has none of them.
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(target, filepath.Join("/dev", name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return unix.Sethostname([]byte("guest"))
}

func mountDisk() error {
	if _, err := os.Stat(diskDevice); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := unix.Mount(diskDevice, disk, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", diskDevice, disk, err)
	}
	return nil
}

// applets makes the names under which busybox, if the guest has it, is called.
func applets() error {
	const busybox = "/bin/busybox"
	if _, err := os.Stat(busybox); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, name := range strings.Fields("sh ls cat ps mount umount ip ping nc sleep dmesg mkdir rm cp ln env id uname grep touch true false") {
		if err := os.Symlink(busybox, filepath.Join("/bin", name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
