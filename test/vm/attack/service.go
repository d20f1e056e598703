package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What the workload of a policy of the library does all day.
func init() {
	add(map[string]func(string) error{
		"service":         service,
		"service-network": serviceNetwork,
		"service-memory":  serviceMemory,
		"service-drops":   serviceDrops,
		"answer":          answerOne,
	})
	roles["unprivileged"] = unprivileged
}

type step struct {
	what string
	do   func() error
}

func inOrder(steps []step) error {
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return nil
}

// service reads its configuration, runs programs of the image with their libraries,
// and keeps data in a directory.
func service(dir string) error {
	at := dir + "/service"
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(at)
	return inOrder([]step{
		{"configuration", func() error { _, err := os.ReadFile("/etc/service.conf"); return err }},
		{"a program of the image", func() error { return permit("/usr/local/bin/permit") }},
		{"a program with libraries", func() error {
			out, err := exec.Command("/usr/bin/echo", "library").CombinedOutput()
			if err == nil && string(out) != "library\n" {
				err = fmt.Errorf("%w: it printed %q", errNoEffect, out)
			}
			return err
		}},
		{"write", func() error { return writeSynced(at + "/new") }},
		{"rename", func() error { return os.Rename(at+"/new", at+"/data") }},
		{"read", func() error { return expect(os.ReadFile(at + "/data")) }},
		{"link", func() error { return os.Link(at+"/data", at+"/backup") }},
		{"mode", func() error { return os.Chmod(at+"/data", 0o600) }},
		{"owner", func() error { return os.Chown(at+"/data", 1000, 1000) }},
		{"truncate", func() error { return os.Truncate(at+"/backup", 3) }},
		{"delete", func() error { return os.Remove(at + "/backup") }},
		{"temporary file", temporary},
		{"processes", func() error { _, err := os.ReadFile("/proc/self/status"); return err }},
		{"randomness", func() error {
			f, err := os.Open("/dev/urandom")
			if err != nil {
				return err
			}
			_, err = io.ReadFull(f, make([]byte, 16))
			return errors.Join(err, f.Close())
		}},
		{"pipe", func() error {
			cmd := exec.Command("/bin/attack", "role", "reader", "/nowhere")
			out, err := cmd.Output()
			if err == nil && !bytes.Contains(out, []byte("ENOENT")) {
				err = fmt.Errorf("%w: it printed %q", errNoEffect, out)
			}
			return err
		}},
	})
}

func writeSynced(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteString("public data")
	return errors.Join(err, f.Sync(), f.Close())
}

// temporary is a file without a name, as sorting uses.
func temporary() error {
	f, err := os.CreateTemp("/tmp", "sort")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if _, err := f.WriteString("public"); err != nil {
		return err
	}
	data := make([]byte, 6)
	_, err = f.ReadAt(data, 0)
	return expect(data, err)
}

// serviceMemory shares memory, as files and without, and executes none of it.
func serviceMemory(dir string) error {
	share := func(fd int) error {
		defer unix.Close(fd)
		if err := unix.Ftruncate(fd, 4096); err != nil {
			return err
		}
		m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		m[0] = 1
		return unix.Munmap(m)
	}
	shareFile := func(name string) func() error {
		return func() error {
			fd, err := unix.Open(name, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
			if err != nil {
				return err
			}
			return errors.Join(share(fd), os.Remove(name))
		}
	}
	return inOrder([]step{
		{"shared memory", shareFile("/dev/shm/service")},
		{"mapped file", shareFile(dir + "/mapped")},
		{"memfd", func() error {
			fd, err := unix.MemfdCreate("buffer", unix.MFD_CLOEXEC)
			if err != nil {
				return err
			}
			return share(fd)
		}},
		{"anonymous memory", func() error {
			m, err := anonymous(unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
			return errors.Join(err, unix.Munmap(m))
		}},
	})
}

// serviceNetwork serves a port and asks it, over TCP, and asks for a name over UDP.
func serviceNetwork(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() { served <- serveOne(l) }()
	if err := ask(l.Addr().String()); err != nil {
		return err
	}
	if err := <-served; err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	u, err := net.Dial("udp", net.JoinHostPort(host, "53"))
	if err != nil {
		return err
	}
	_, err = u.Write([]byte("?"))
	return errors.Join(err, u.Close())
}

func serveOne(l net.Listener) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	question := make([]byte, 1)
	if _, err := io.ReadFull(c, question); err != nil {
		return err
	}
	_, err = c.Write([]byte("public"))
	return errors.Join(err, c.Close())
}

func ask(address string) error {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	return expect(io.ReadAll(c))
}

// answerOne serves one client, who is told by a line that it may come.
func answerOne(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Println("ready")
	return serveOne(l)
}

// serviceDrops starts as root, gives its directory away and goes on as somebody.
func serviceDrops(dir string) error {
	at, err := mkdir(dir + "/owned")
	if err != nil {
		return err
	}
	if err := os.Chown(at, 1000, 1000); err != nil {
		return err
	}
	return played("unprivileged", at, 0)
}

func unprivileged(dir string) {
	err := inOrder([]step{
		{"groups", func() error { return syscall.Setgroups([]int{1000}) }},
		{"group", func() error { return syscall.Setgid(1000) }},
		{"user", func() error { return syscall.Setuid(1000) }},
		{"write", func() error { return writeSynced(dir + "/data") }},
		{"run", func() error { return permit("/usr/local/bin/permit") }},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, strings.TrimSpace(err.Error()))
	}
	fmt.Println(outcome(err))
}
