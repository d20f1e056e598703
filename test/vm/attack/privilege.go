package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

func init() {
	add(map[string]func(string) error{
		"set-user":      func(string) error { return is(syscall.Setresuid(-1, 7, -1), os.Geteuid) },
		"set-group":     func(string) error { return is(syscall.Setresgid(-1, 7, -1), os.Getegid) },
		"set-groups":    func(string) error { return syscall.Setgroups([]int{7}) },
		"priority":      priority,
		"host-name":     hostName,
		"attribute":     func(dir string) error { return attribute(dir, setAttribute) },
		"raw-socket":    func(string) error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) },
		"raw-socket-6":  func(string) error { return socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6) },
		"packet-socket": func(string) error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) },
		"bpf-map":       func(string) error { return bpf() },
		"load-module":   loadModule,
	})
}

// is reports whether a change to 7 went well.
func is(err error, now func() int) error {
	if err == nil && now() != 7 {
		err = errNoEffect
	}
	return err
}

// priority needs CAP_SYS_NICE.
func priority(string) error {
	runtime.LockOSThread() // it is a thread's; never unlocked: the process ends
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -5); err != nil {
		return err
	}
	got, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err == nil && got != 25 { // 20 less the priority
		err = fmt.Errorf("%w: the kernel says %d", errNoEffect, got)
	}
	return err
}

// hostName needs CAP_SYS_ADMIN and nothing else that a policy may speak of.
func hostName(string) error {
	before, err := os.Hostname()
	if err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("attacked")); err != nil {
		return err
	}
	after, err := os.Hostname()
	if err == nil && after != "attacked" {
		err = errNoEffect
	}
	return errors.Join(err, unix.Sethostname([]byte(before)))
}

func setAttribute(path, name string, value []byte) error { return unix.Setxattr(path, name, value, 0) }

// attribute sets one for which CAP_SYS_ADMIN is needed.
func attribute(dir string, set func(path, name string, value []byte) error) error {
	const name = "trusted.attacked"
	path := dir + "/public"
	if err := set(path, name, []byte("yes")); err != nil {
		return err
	}
	got := make([]byte, 8)
	n, err := unix.Getxattr(path, name, got)
	if err == nil && string(got[:n]) != "yes" {
		err = errNoEffect
	}
	return err
}

func socket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// bpf makes an array of one entry.
func bpf() error {
	attr := struct{ kind, key, value, entries, flags uint32 }{2, 4, 4, 1, 0}
	fd, _, e := unix.Syscall(unix.SYS_BPF, 0, pointer(&attr), 20)
	if e != 0 {
		return e
	}
	return unix.Close(int(fd))
}

// module is one that no test needs; its tree has the file.
const module = "nft_masq"

func loadModule(dir string) error {
	fd, err := unix.Open(dir+"/module.ko", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.DeleteModule(module, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unload: %w", err)
	}
	if err := unix.FinitModule(fd, "", 0); err != nil {
		return err
	}
	_, err = os.Stat("/sys/module/" + module)
	return err
}
