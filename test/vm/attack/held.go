package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Attacks that get hold of a file before the policy comes: they say "ready" and go
// on when a line comes.
func init() {
	add(map[string]func(string) error{
		"held-read": held(unix.O_RDONLY, func(fd int, _ string) error { return readFrom(fd) }),
		"held-pread": held(unix.O_RDONLY, func(fd int, _ string) error {
			buf := make([]byte, 64)
			n, err := unix.Pread(fd, buf, 0)
			return holds(buf[:max(n, 0)], err)
		}),
		"held-readv": held(unix.O_RDONLY, func(fd int, _ string) error {
			buf := make([]byte, 64)
			n, err := unix.Readv(fd, [][]byte{buf})
			return holds(buf[:max(n, 0)], err)
		}),
		"held-map": held(unix.O_RDONLY, func(fd int, _ string) error {
			m, err := unix.Mmap(fd, 0, 64, unix.PROT_READ, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			return holds(m[:len(secret)], nil)
		}),
		"held-sendfile": held(unix.O_RDONLY, func(fd int, dir string) error {
			return through(dir, func(to int) error { _, err := unix.Sendfile(to, fd, nil, 64); return err })
		}),
		"held-copy-range": held(unix.O_RDONLY, func(fd int, dir string) error {
			return through(dir, func(to int) error { _, err := unix.CopyFileRange(fd, nil, to, nil, 64, 0); return err })
		}),
		"held-splice":          held(unix.O_RDONLY, heldSplice),
		"held-uring":           held(unix.O_RDONLY, heldUring),
		"held-reopen":          held(unix.O_RDONLY, func(fd int, _ string) error { return read(fmt.Sprintf("/proc/self/fd/%d", fd)) }),
		"held-path-descriptor": held(unix.O_PATH, func(fd int, _ string) error { return read(fmt.Sprintf("/proc/self/fd/%d", fd)) }),
		"held-write":           held(unix.O_WRONLY, func(fd int, _ string) error { _, err := unix.Write(fd, []byte("changed")); return err }),
		"held-truncate":        held(unix.O_WRONLY, func(fd int, _ string) error { return unix.Ftruncate(fd, 0) }),
		"held-mapping":         heldMapping,
		"held-exec":            heldExec,
		"held-device":          heldDevice,
	})
}

// ready lets the policy come.
func ready() {
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

func held(flags int, f func(fd int, dir string) error) func(dir string) error {
	return func(dir string) error {
		fd, err := unix.Open(dir+"/secret", flags, 0)
		if err != nil {
			return err
		}
		ready()
		return f(fd, dir)
	}
}

// through has the kernel carry the content into a file that may be read.
func through(dir string, f func(to int) error) error {
	to, err := unix.Open(dir+"/carried", unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	if err := f(to); err != nil {
		return err
	}
	return read(dir + "/carried")
}

func heldSplice(fd int, _ string) error {
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		return err
	}
	if _, err := unix.Splice(fd, nil, pipe[1], nil, 64, 0); err != nil {
		return err
	}
	return readFrom(pipe[0])
}

func heldUring(fd int, _ string) error {
	r, err := newRing(0)
	if err != nil {
		return err
	}
	defer r.close()
	buf := make([]byte, 64)
	n, err := r.do(entry{op: opRead, fd: int32(fd), address: uint64(pointer(&buf[0])), length: uint32(len(buf))})
	return holds(buf[:n], err)
}

// heldMapping needs nothing of the kernel any more.
func heldMapping(dir string) error {
	fd, err := unix.Open(dir+"/secret", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	m, err := unix.Mmap(fd, 0, 64, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	ready()
	return holds(m[:len(secret)], nil)
}

func heldExec(dir string) error {
	fd, err := unix.Open(dir+"/denied", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ready()
	return run(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd))
}

// heldDevice writes into the kernel's log.
func heldDevice(dir string) error {
	path := dir + "/log"
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 11))); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	fd, err := unix.Open(path, unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ready()
	_, err = unix.Write(fd, []byte("<7>held-device\n"))
	return err
}
