package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What single kinds of rules are about, and beside each what such a rule spares.
func init() {
	at := func(address string) func(string) error {
		return func(string) error { return connectTo(address) }
	}
	add(map[string]func(string) error{
		"exec-argument": func(dir string) error { return effect(exec.Command(dir+"/denied", "--leak")) },
		"exec-below":    func(dir string) error { return run(dir + "/sub/denied") },
		"exec-borrowed": by(borrower, "exec"),

		"read-as-other": readAsOther,
		"read-own":      readOwn,
		"read-unlinked": readUnlinked,
		"read-borrowed": by(borrower, "read"),
		"read-lent":     by(borrower, "read-handed"),
		"read-handed":   by(attacker, "read"),

		"device":          device,
		"device-borrowed": by(borrower, "device"),

		"connect-udp":          connectUDP,
		"connect-not-udp":      at("127.0.0.1:7989"),
		"connect-icmp":         connectICMP,
		"connect-free":         at("127.0.0.1:7990"),
		"connect-in-range":     at("127.0.0.1:7986"),
		"connect-beyond-range": at("127.0.0.1:7987"),
		"connect-block":        at("127.8.0.1:7983"),
		"connect-except":       at("127.8.1.1:7983"),
		"connect-peer":         at(peerPod + ":7982"),
		"connect-stranger":     at(strangerPod + ":7982"),
		"connect-world":        at("198.51.100.1:7981"),
		"connect-pod":          at(peerPod + ":7981"),
		"connect-lender":       at("127.0.0.1:7980"),
		"connect-borrowed":     by(borrower, "connect-lender"),
	})
}

const (
	attacker = "/bin/attack"
	// borrower is this program by another path, which rules name in from.
	borrower = "/bin/borrower"
	// The addresses of two pods that nobody has: see Peers of test/vm/runtime.
	peerPod     = "10.1.1.52"
	strangerPod = "10.1.1.53"
)

// by has another program make an attack.
func by(program, name string) func(dir string) error {
	return func(dir string) error {
		cmd := exec.Command(program, name, dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			if status := exit.Sys().(syscall.WaitStatus); status.Signaled() && status.Signal() == syscall.SIGKILL {
				return errKilled
			}
		}
		if len(out) == 0 {
			return fmt.Errorf("%s: %w", program, errors.Join(errNoEffect, err))
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		last := lines[len(lines)-1]
		if last == "attack=failed errno="+errnoOf(errKilled) {
			return errKilled
		}
		return parseOutcome(last)
	}
}

// readAsOther reads with a user id that does not own the file.
func readAsOther(dir string) error {
	runtime.LockOSThread() // the id is a thread's; never unlocked: the process ends
	if err := unix.Setfsuid(7); err != nil {
		return err
	}
	if now, err := unix.SetfsuidRetUid(-1); err != nil || now != 7 {
		return errors.Join(fmt.Errorf("%w: the file system's user is %d", errNoEffect, now), err)
	}
	fd, err := unix.Open(dir+"/secret", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return readFrom(fd)
}

// readOwn reads a file that it wrote.
func readOwn(dir string) error {
	if err := os.WriteFile(dir+"/own", []byte(secret), 0o644); err != nil {
		return err
	}
	return read(dir + "/own")
}

// readUnlinked reads a file that has no name any more.
func readUnlinked(dir string) error {
	name := dir + "/own"
	if err := os.WriteFile(name, []byte(secret), 0o644); err != nil {
		return err
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := os.Remove(name); err != nil {
		return err
	}
	return read(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// device makes one, for which CAP_MKNOD is needed.
func device(string) error {
	const name = "/dev/attacked"
	if err := unix.Mknod(name, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		return err
	}
	return os.Remove(name)
}

// connectTo connects to an address, which this machine gets before if it is none of a
// loopback's.
func connectTo(address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !to.Addr().IsLoopback() {
		out, err := exec.Command("/bin/busybox", "ip", "addr", "add", to.Addr().String()+"/32", "dev", "lo").CombinedOutput()
		if err != nil && !strings.Contains(string(out), "File exists") {
			return fmt.Errorf("%w: address %s: %s", errNoEffect, to.Addr(), out)
		}
	}
	there := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	return connects(unix.AF_INET, unix.IPPROTO_TCP, there, plainConnect(there))
}

func connectUDP(string) error {
	to := loopback(7989)
	return datagramAt(to, plainConnect(to))
}

// connectICMP has the kernel answer an echo.
func connectICMP(string) error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0); err != nil {
		return fmt.Errorf("%w: who may send an echo: %w", errNoEffect, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, loopback(0)); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte{8, 0, 0, 0, 0, 0, 0, 1}); err != nil {
		return err
	}
	return gets(fd)
}
