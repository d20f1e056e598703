package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What is no attack: work that no policy here forbids, and work that is counted.
func init() {
	add(map[string]func(string) error{
		"work":       work,
		"storm":      storm,
		"cost":       cost,
		"permit":     func(dir string) error { return permit(dir + "/permit") },
		"read-other": func(dir string) error { return read(dir + "/sub/secret") },
	})
}

// work is what programs do all day.
func work(dir string) error {
	at := dir + "/work"
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"write", func() error { return os.WriteFile(at+"/a", []byte("public"), 0o644) }},
		{"read", func() error { return expect(os.ReadFile(at + "/a")) }},
		{"rename", func() error { return os.Rename(at+"/a", at+"/b") }},
		{"link", func() error { return os.Link(at+"/b", at+"/c") }},
		{"symlink", func() error { return os.Symlink("b", at+"/d") }},
		{"read by link", func() error { return expect(os.ReadFile(at + "/d")) }},
		{"chmod", func() error { return os.Chmod(at+"/b", 0o600) }},
		{"truncate", func() error { return os.Truncate(at+"/b", 1) }},
		{"directory", func() error { return os.Mkdir(at+"/e", 0o755) }},
		{"list", func() error { _, err := os.ReadDir(at); return err }},
		{"delete", func() error { return os.RemoveAll(at) }},
		{"proc", func() error { _, err := os.ReadFile("/proc/self/status"); return err }},
		{"devices", func() error { _, err := os.ReadFile("/dev/null"); return err }},
		{"execute", func() error { return permit("/rows/permit") }},
		{"shell", func() error {
			out, err := exec.Command("/bin/busybox", "sh", "-c", "echo $((6*7))").CombinedOutput()
			if err == nil && string(out) != "42\n" {
				err = fmt.Errorf("%w: the shell says %q", errNoEffect, out)
			}
			return err
		}},
		{"memory", func() error {
			m, err := anonymous(unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
			return errors.Join(err, unix.Munmap(m))
		}},
		{"socket", func() error { return socket(unix.AF_INET, unix.SOCK_STREAM, 0) }},
		{"connect", func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, loopback(7)); !errors.Is(err, unix.ECONNREFUSED) { // nobody is there
				return fmt.Errorf("%w: %w", errNoEffect, err)
			}
			return nil
		}},
	} {
		if err := step.do(); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// permit runs a program that prints that it may.
func permit(path string) error {
	out, err := exec.Command(path).CombinedOutput()
	if err == nil && string(out) != "permitted\n" {
		err = fmt.Errorf("%w: it printed %q", errNoEffect, out)
	}
	return err
}

// storm opens, executes and lists until a line comes, and succeeds if the secret was
// never to be had, and what may be had always was.
func storm(dir string) error {
	stop := make(chan struct{})
	go func() { defer close(stop); ready() }()
	var opens, execs, mixed int
	var first error
	wrong := func(err error) {
		mixed++
		if first == nil {
			first = err
		}
	}
	for i := 0; ; i++ {
		select {
		case <-stop:
			fmt.Printf("storm opens=%d execs=%d mixed=%d\n", opens, execs, mixed)
			return first
		default:
		}
		opens += 2
		if err := read(dir + "/secret"); !errors.Is(err, unix.EPERM) {
			wrong(fmt.Errorf("%w: the secret was read: %w", errNoEffect, err))
		}
		if err := expect(os.ReadFile(dir + "/public")); err != nil {
			wrong(err)
		}
		if i%32 != 0 {
			continue
		}
		execs += 2
		if err := run(dir + "/denied"); !errors.Is(err, unix.EPERM) {
			wrong(fmt.Errorf("%w: the denied program ran: %w", errNoEffect, err))
		}
		if err := permit(dir + "/permit"); err != nil {
			wrong(err)
		}
	}
}

// rounds of cost; the shortest counts, since whatever else runs only adds.
const (
	rounds        = 15
	execsOfRound  = 12
	opensOfRound  = 200
	roundVariable = "PALISADE_ROUNDS"
)

// cost times executing a program to its end, and opening and closing a file.
func cost(dir string) error {
	n := rounds
	if text := os.Getenv(roundVariable); text != "" {
		n, _ = strconv.Atoi(strings.TrimSpace(text))
	}
	var execs, opens []time.Duration
	for range n {
		begin := time.Now()
		for range execsOfRound {
			cmd := exec.Command(dir + "/permit")
			if err := cmd.Run(); err != nil {
				return err
			}
		}
		execs = append(execs, time.Since(begin)/execsOfRound)
		begin = time.Now()
		for range opensOfRound {
			fd, err := unix.Open(dir+"/public", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
		opens = append(opens, time.Since(begin)/opensOfRound)
	}
	fmt.Printf("cost exec=%d open=%d\n", slices.Min(execs).Nanoseconds(), slices.Min(opens).Nanoseconds())
	return nil
}
