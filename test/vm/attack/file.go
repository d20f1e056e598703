package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// secret is what nobody may read.
const secret = "secret"

func init() {
	add(map[string]func(string) error{
		"read":              func(dir string) error { return read(dir + "/secret") },
		"read-public":       func(dir string) error { return expect(os.ReadFile(dir + "/public")) },
		"read-symlink":      readSymlink,
		"read-image-link":   func(dir string) error { return read(dir + "/link") },
		"read-proc-root":    func(dir string) error { return read("/proc/self/root" + dir + "/secret") },
		"read-proc-1-root":  func(dir string) error { return read("/proc/1/root" + dir + "/secret") },
		"read-proc-cwd":     readProcCwd,
		"read-relative":     readRelative,
		"read-openat2-root": func(dir string) error { return readOpenat2(dir, "/secret", unix.RESOLVE_IN_ROOT) },
		"read-openat2-beneath": func(dir string) error {
			return readOpenat2(dir, "sub/../secret", unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
		},
		"read-reopened":    readReopened,
		"read-handle":      readHandle,
		"read-cold-handle": readColdHandle,
		"link-secret":      linkSecret,
		"link-descriptor":  linkDescriptor,
		"rename-secret":    renameSecret,
		"rename-parent":    renameParent,
		"exchange-parent":  exchangeParent,
		"exchange-secret":  exchangeSecret,
		"deep-secret":      func(dir string) error { return read(deep(dir) + "/secret") },
		"long-secret":      func(dir string) error { return read(long(dir) + "/secret") },
		"endless-secret":   endlessSecret,
		"unshare-read":     unshareRead,
		"chroot-read":      chrootRead,
		"race-open":        raceOpen,
	})
}

// deep and long are directories of container.Tree.
func deep(dir string) string { return dir + strings.Repeat("/d", 64) }

func long(dir string) string { return dir + strings.Repeat("/"+strings.Repeat("n", 200), 9) }

// read reports whether a file holds the secret.
func read(path string) error { return holds(os.ReadFile(path)) }

func holds(data []byte, err error) error {
	if err == nil && !strings.HasPrefix(string(data), secret) {
		err = fmt.Errorf("%w: it holds %q", errNoEffect, data)
	}
	return err
}

// expect wants what anybody may read.
func expect(data []byte, err error) error {
	if err == nil && !strings.HasPrefix(string(data), "public") {
		err = fmt.Errorf("%w: it holds %q", errNoEffect, data)
	}
	return err
}

func readFrom(fd int) error {
	buf := make([]byte, 64)
	n, err := unix.Read(fd, buf)
	return holds(buf[:max(n, 0)], err)
}

func readSymlink(dir string) error {
	if err := os.Symlink("sub/../secret", dir+"/alias"); err != nil {
		return err
	}
	return read(dir + "/alias")
}

func readProcCwd(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	return read("/proc/self/cwd/secret")
}

func readRelative(dir string) error {
	at, err := unix.Open(dir+"/sub", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	fd, err := unix.Openat(at, ".././sub/../secret", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return readFrom(fd)
}

func readOpenat2(dir, path string, resolve uint64) error {
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	fd, err := unix.Openat2(at, path, &unix.OpenHow{Flags: unix.O_RDONLY, Resolve: resolve})
	if err != nil {
		return err
	}
	return readFrom(fd)
}

// readReopened gets hold of the file without reading rights, and opens that.
func readReopened(dir string) error {
	fd, err := unix.Open(dir+"/secret", unix.O_PATH, 0)
	if err != nil {
		return err
	}
	return read(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// readHandle names the file by number.
func readHandle(dir string) error {
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, dir+"/secret", 0)
	if err != nil {
		return err
	}
	mount, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	fd, err := unix.OpenByHandleAt(mount, handle, unix.O_RDONLY)
	if err != nil {
		return err
	}
	return readFrom(fd)
}

// readColdHandle opens a file by its number whose name nobody has looked up, so that the
// kernel does not know it either. The files of a new cgroup have the numbers that follow.
func readColdHandle(string) error {
	cgroup, err := mkdir("/sys/fs/cgroup/cold-handle")
	if err != nil {
		return err
	}
	mount, err := unix.Open(cgroup, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(mount)
	handle, _, err := unix.NameToHandleAt(mount, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return err
	}
	number := binary.LittleEndian.Uint64(handle.Bytes())
	for i := range uint64(100) {
		next := binary.LittleEndian.AppendUint64(nil, number+1+i)
		content, err := readHandleOf(mount, unix.NewFileHandle(handle.Type(), next))
		if errors.Is(err, unix.EPERM) || strings.HasPrefix(content, "populated") {
			return err
		}
	}
	return fmt.Errorf("%w: no file of %s is found", errNoEffect, cgroup)
}

func readHandleOf(mount int, handle unix.FileHandle) (string, error) {
	fd, err := unix.OpenByHandleAt(mount, handle, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buf := make([]byte, 64)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

func linkSecret(dir string) error {
	if err := os.Link(dir+"/secret", dir+"/alias"); err != nil {
		return err
	}
	return read(dir + "/alias")
}

// linkDescriptor gives a new name to what a descriptor refers to.
func linkDescriptor(dir string) error {
	fd, err := unix.Open(dir+"/secret", unix.O_PATH, 0)
	if err != nil {
		return err
	}
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, dir+"/alias", unix.AT_SYMLINK_FOLLOW); err != nil {
		return err
	}
	return read(dir + "/alias")
}

func renameSecret(dir string) error {
	if err := os.Rename(dir+"/secret", dir+"/moved"); err != nil {
		return err
	}
	return read(dir + "/moved")
}

func renameParent(dir string) error {
	if err := os.Rename(dir+"/sub", dir+"/moved"); err != nil {
		return err
	}
	return read(dir + "/moved/secret")
}

func exchangeParent(dir string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, dir+"/sub", unix.AT_FDCWD, dir+"/root", unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return read(dir + "/root/secret")
}

func exchangeSecret(dir string) error {
	if err := unix.Renameat2(unix.AT_FDCWD, dir+"/secret", unix.AT_FDCWD, dir+"/public", unix.RENAME_EXCHANGE); err != nil {
		return err
	}
	return read(dir + "/public")
}

// endlessSecret reads a file whose path is longer than any that can be written.
func endlessSecret(dir string) error {
	at, err := unix.Open(dir+"/endless", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	for {
		next, err := unix.Openat(at, strings.Repeat("e", 250), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return err
		}
		unix.Close(at)
		at = next
	}
	fd, err := unix.Openat(at, "secret", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return readFrom(fd)
}

// apart does something in a thread with namespaces of its own.
func apart(flags int, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespaces
		if err := unix.Unshare(flags); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

func unshareRead(dir string) error {
	return apart(unix.CLONE_NEWNS|unix.CLONE_NEWPID, func() error { return read(dir + "/secret") })
}

func chrootRead(dir string) error {
	if err := syscall.Chroot(filepath.Dir(dir)); err != nil {
		return err
	}
	return read("/" + filepath.Base(dir) + "/secret")
}

// flipping is a path in memory, as C has it, whose last part changes all the time.
func flipping(path, one, other string) (buffer []byte, stop func()) {
	buffer = append([]byte(path), 0)
	last := buffer[len(buffer)-1-len(one) : len(buffer)-1]
	var done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !done.Load() {
			copy(last, other)
			runtime.Gosched()
			copy(last, one)
			runtime.Gosched()
		}
	}()
	return buffer, func() { done.Store(true); <-ended }
}

// raceOpen changes the path in memory while the kernel reads it.
func raceOpen(dir string) error {
	buffer, stop := flipping(dir+"/secret", "secret", "public")
	defer stop()
	last := errNoEffect
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		cwd := unix.AT_FDCWD
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT, uintptr(cwd), pointer(&buffer[0]), unix.O_RDONLY, 0, 0, 0)
		if e != 0 {
			last = e
			continue
		}
		err := readFrom(int(fd))
		unix.Close(int(fd))
		if err == nil {
			return nil
		}
	}
	return last
}
