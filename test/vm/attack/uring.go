package main

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

func init() {
	add(map[string]func(string) error{
		"uring-setup":  func(string) error { r, err := newRing(0); r.close(); return err },
		"uring-read":   func(dir string) error { return uringRead(dir, 0, 0) },
		"uring-async":  func(dir string) error { return uringRead(dir, 0, sqeAsync) },
		"uring-thread": func(dir string) error { return uringRead(dir, setupThread, 0) },
		"uring-unlink": uringUnlink,

		"uring-attribute":  uringAttribute,
		"uring-raw-socket": uringRawSocket,
	})
}

// What the kernel's io_uring.h says.
const (
	opConnect  = 16
	opOpenAt   = 18
	opRead     = 22
	opUnlinkAt = 36
	opSetXattr = 42
	opSocket   = 45

	registerPersonality = 9 // IORING_REGISTER_PERSONALITY

	setupThread = 1 << 1 // IORING_SETUP_SQPOLL
	sqeAsync    = 1 << 4 // IOSQE_ASYNC
	enterGet    = 1 << 0 // IORING_ENTER_GETEVENTS
	enterWake   = 1 << 1 // IORING_ENTER_SQ_WAKEUP

	offsetQueues  = 0
	offsetEntries = 0x10000000
)

type ringParams struct {
	entries, completions, flags, _, _, _, _ uint32
	_                                       [3]uint32
	sq                                      struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// entry is a submission.
type entry struct {
	op, flags uint8
	_         uint16
	fd        int32
	offset    uint64
	address   uint64
	length    uint32
	opFlags   uint32
	_         uint64
	_         uint16
	as        uint16 // whose credentials: a number that the ring gave
	_         uint32
	address3  uint64
	_         uint64
}

type completion struct {
	_   uint64
	res int32
	_   uint32
}

// ring is an io_uring that carries one operation at a time.
type ring struct {
	fd      int
	flags   uint32
	params  ringParams
	queues  []byte
	entries []byte
}

func newRing(flags uint32) (*ring, error) {
	r := &ring{fd: -1, flags: flags}
	r.params.flags = flags
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, pointer(&r.params), 0)
	if e != noError {
		return r, e
	}
	r.fd = int(fd)
	size := max(r.params.sq.array+r.params.entries*4, r.params.cq.cqes+r.params.completions*16)
	var err error
	const protection, kind = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if r.queues, err = unix.Mmap(r.fd, offsetQueues, int(size), protection, kind); err != nil {
		return r, err
	}
	r.entries, err = unix.Mmap(r.fd, offsetEntries, int(r.params.entries)*64, protection, kind)
	return r, err
}

func (r *ring) close() {
	if r.fd >= 0 {
		_ = unix.Close(r.fd)
	}
}

// do submits an operation and waits for its result. Signals wait until then: Linux 6.1
// cancels an operation if one is pending each time that it tries to make a worker for it,
// and on a slow machine those by which Go preempts a thread are enough for that.
func (r *ring) do(s entry) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before); err != nil {
		return 0, err
	}
	defer func() { _ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) }()
	*at[entry](r.entries, 0) = s
	*at[uint32](r.queues, r.params.sq.array) = 0
	mask := *at[uint32](r.queues, r.params.sq.mask)
	tail := at[uint32](r.queues, r.params.sq.tail)
	*at[uint32](r.queues, r.params.sq.array+(*tail&mask)*4) = 0
	atomic.AddUint32(tail, 1)
	enter := uint32(enterGet)
	if r.flags&setupThread != 0 {
		enter |= enterWake
	}
	head := at[uint32](r.queues, r.params.cq.head)
	for atomic.LoadUint32(at[uint32](r.queues, r.params.cq.tail)) == *head {
		if _, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 1, uintptr(enter), 0, 0); e != noError && e != unix.EINTR {
			return 0, e
		}
	}
	c := *at[completion](r.queues, r.params.cq.cqes+(*head&*at[uint32](r.queues, r.params.cq.mask))*16)
	atomic.AddUint32(head, 1)
	if c.res < 0 {
		return 0, unix.Errno(-c.res)
	}
	return int(c.res), nil
}

func uringRead(dir string, setup uint32, flags uint8) error {
	r, err := newRing(setup)
	if err != nil {
		return err
	}
	defer r.close()
	path := append([]byte(dir+"/secret"), 0)
	fd, err := r.do(entry{op: opOpenAt, flags: flags, fd: unix.AT_FDCWD, address: uint64(pointer(&path[0])), opFlags: unix.O_RDONLY})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	buf := make([]byte, 64)
	n, err := r.do(entry{op: opRead, flags: flags, fd: int32(fd), address: uint64(pointer(&buf[0])), length: uint32(len(buf))})
	return holds(buf[:n], err)
}

func uringUnlink(dir string) error {
	return gone(dir+"/secret", func(path string) error {
		r, err := newRing(0)
		if err != nil {
			return err
		}
		defer r.close()
		name := append([]byte(path), 0)
		_, err = r.do(entry{op: opUnlinkAt, fd: unix.AT_FDCWD, address: uint64(pointer(&name[0]))})
		return err
	})
}

// borrow makes a ring that does things with credentials that it keeps.
func borrow() (*ring, uint16, error) {
	r, err := newRing(0)
	if err != nil {
		return r, 0, err
	}
	id, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerPersonality, 0, 0, 0, 0)
	if e != noError {
		return r, 0, e
	}
	return r, uint16(id), nil
}

// uringAttribute is done by a worker of the kernel.
func uringAttribute(dir string) error {
	r, as, err := borrow()
	defer r.close()
	if err != nil {
		return err
	}
	return attribute(dir, func(path, name string, value []byte) error {
		p, n := append([]byte(path), 0), append([]byte(name), 0)
		_, err := r.do(entry{
			op: opSetXattr, address: uint64(pointer(&n[0])), offset: uint64(pointer(&value[0])), length: uint32(len(value)),
			address3: uint64(pointer(&p[0])), as: as,
		})
		return err
	})
}

// uringRawSocket is done at once, by the process itself.
func uringRawSocket(string) error {
	r, as, err := borrow()
	defer r.close()
	if err != nil {
		return err
	}
	fd, err := r.do(entry{op: opSocket, fd: unix.AF_INET, offset: unix.SOCK_RAW, length: unix.IPPROTO_ICMP, as: as})
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func uringConnect(fd int) error {
	r, err := newRing(0)
	if err != nil {
		return err
	}
	defer r.close()
	address := sockaddr4(deniedPort)
	if _, err := r.do(entry{op: opConnect, fd: int32(fd), address: uint64(pointer(&address)), offset: uint64(len(address))}); err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("!"))
	return err
}
