package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ran is what the program that nobody may run prints.
const ran = "ran"

func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// effect runs a command and reports whether the denied program ran in it.
func effect(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if strings.HasPrefix(out.String(), ran+"\n") {
		return nil
	}
	var number unix.Errno
	if _, text, ok := strings.Cut(out.String(), "errno="); ok {
		if _, err := fmt.Sscan(text, (*uintptr)(&number)); err == nil {
			return fmt.Errorf("%s: %w", cmd.Path, number)
		}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		if status.Signaled() && status.Signal() == syscall.SIGKILL {
			return errKilled
		}
	}
	if err != nil {
		return fmt.Errorf("%w (it printed %q)", err, out.String())
	}
	return fmt.Errorf("%w: it printed %q", errNoEffect, out.String())
}

// run executes a program as most programs do: by vfork and execve.
func run(path string) error { return effect(exec.Command(path)) }

// runBy executes a program in another way: see become.
func runBy(how, path string) error { return effect(exec.Command(self(), "become", how, path)) }

// become replaces this process by a program, or says why not.
func become(how, path string) {
	f, ok := becoming[how]
	if !ok {
		usage()
	}
	err := f(path)
	var number unix.Errno
	if !errors.As(err, &number) {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("errno=%d\n", uintptr(number))
	os.Exit(1)
}

var environment = []string{"PATH=/bin"}

var becoming = map[string]func(path string) error{
	"execve": func(path string) error { return unix.Exec(path, []string{path}, environment) },
	"thread": func(path string) error {
		// Not the first thread: the kernel makes it the leader.
		result := make(chan error)
		go func() { result <- unix.Exec(path, []string{path}, environment) }()
		return <-result
	},
	"descriptor": func(path string) error {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return execveat(fd, "", unix.AT_EMPTY_PATH)
	},
	"path-descriptor": func(path string) error {
		fd, err := unix.Open(path, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		return execveat(fd, "", unix.AT_EMPTY_PATH)
	},
	"proc-descriptor": func(path string) error {
		fd, err := unix.Open(path, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		link := fmt.Sprintf("/proc/self/fd/%d", fd)
		return unix.Exec(link, []string{path}, environment)
	},
	"directory": func(path string) error {
		fd, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		return execveat(fd, filepath.Base(path), 0)
	},
}

// execveat is not in the library.
func execveat(fd int, path string, flags uintptr) error {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	argv, err := syscall.SlicePtrFromStrings([]string{"program"})
	if err != nil {
		return err
	}
	envv, err := syscall.SlicePtrFromStrings(environment)
	if err != nil {
		return err
	}
	_, _, e := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), pointer(name), pointer(&argv[0]), pointer(&envv[0]), flags, 0)
	return e
}

// copyFile writes a file that may be executed.
func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}
