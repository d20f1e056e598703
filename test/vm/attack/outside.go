package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Ways to what is not the container's own.
func init() {
	add(map[string]func(string) error{
		"child-cgroup-exec":  func(dir string) error { return inChildCgroup("child", func() error { return run(dir + "/denied") }) },
		"child-cgroup-read":  func(dir string) error { return inChildCgroup("child", func() error { return read(dir + "/secret") }) },
		"forged-cgroup-exec": func(dir string) error { return inChildCgroup(forgedPod, func() error { return run(dir + "/denied") }) },
		"forged-cgroup-read": func(dir string) error { return inChildCgroup(forgedPod, func() error { return read(dir + "/secret") }) },
		"overwrite-runtime":  overwriteRuntime,
		"leaked-read":        func(string) error { return read(fmt.Sprintf("/proc/self/fd/%d/secret", leaked)) },
		"leaked-write":       leakedWrite,
		"leaked-exec":        func(string) error { return run(fmt.Sprintf("/proc/%d/fd/%d/denied", os.Getpid(), leaked)) },
		"from-outside":       fromOutside,
		"foreign-mount-read": foreignMount(func(root, dir string) error { return read(root + dir + "/secret") }),
		"foreign-mount-exec": foreignMount(func(root, dir string) error { return run(root + dir + "/denied") }),
		"join-mount":         joinMount,
		"core-pattern-write": corePattern,
	})
}

// forgedPod is named as kubelet names the cgroup of a pod.
const forgedPod = "pod00000000-0000-4000-8000-00000000f00d"

const cgroupRoot = "/sys/fs/cgroup"

// inChildCgroup moves this process into a cgroup that it made.
func inChildCgroup(name string, f func() error) error {
	dir, err := mkdir(filepath.Join(cgroupRoot, name))
	if err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	if !strings.Contains(string(own), filepath.Base(name)) {
		return fmt.Errorf("%w: this process is in %s", errNoEffect, own)
	}
	return f()
}

// overwriteRuntime waits for a program of the host to come into the container, as
// a container runtime does, and writes into its file when it has gone.
func overwriteRuntime(string) error {
	ready()
	file, err := visitor()
	if err != nil {
		return err
	}
	link := fmt.Sprintf("/proc/self/fd/%d", file)
	for deadline := time.Now().Add(patience); ; {
		fd, err := unix.Open(link, unix.O_WRONLY|unix.O_TRUNC, 0)
		if errors.Is(err, unix.ETXTBSY) && time.Now().Before(deadline) {
			continue // it is still running
		}
		if err != nil {
			return err
		}
		_, err = unix.Write(fd, []byte("overwritten"))
		return errors.Join(err, unix.Close(fd))
	}
}

// visitor opens the file of a process whose program is called "visitor".
func visitor() (int, error) {
	for deadline := time.Now().Add(4 * patience); time.Now().Before(deadline); {
		names, err := filepath.Glob("/proc/[0-9]*/exe")
		if err != nil {
			return 0, err
		}
		for _, name := range names {
			program, err := os.Readlink(name)
			if err != nil || filepath.Base(program) != "visitor" {
				continue // another one, or gone
			}
			return unix.Open(name, unix.O_RDONLY, 0)
		}
	}
	return 0, fmt.Errorf("%w: no visitor came", errNoEffect)
}

func leakedWrite(string) error {
	fd, err := unix.Openat(leaked, "overwritten", unix.O_WRONLY|unix.O_CREAT, 0o644)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("overwritten"))
	return err
}

// fromOutside reads by a program that is none of the container's, whatever its path is.
func fromOutside(dir string) error {
	out, err := exec.Command(fmt.Sprintf("/proc/%d/fd/%d/attack", os.Getpid(), leaked), "read-beside", dir+"/script").Output()
	if err != nil {
		return err
	}
	return parseOutcome(strings.TrimSpace(string(out)))
}

// foreignMount looks through the root of another container's process: one that has
// the file /run/other, in the pod's common pid namespace.
func foreignMount(f func(root, dir string) error) func(dir string) error {
	return func(dir string) error {
		pid, err := neighbour()
		if err != nil {
			return err
		}
		return f("/proc/"+pid+"/root", dir)
	}
}

func neighbour() (string, error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return "", err
	}
	last := errNoEffect
	for _, p := range processes {
		_, err := os.Stat(p + "/root/run/other")
		if err == nil {
			return filepath.Base(p), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			last = err
		}
	}
	return "", fmt.Errorf("no process of another container: %w", last)
}

// joinMount enters the other container's mount namespace.
func joinMount(dir string) error {
	pid, err := neighbour()
	if err != nil {
		return err
	}
	fd, err := unix.Open("/proc/"+pid+"/ns/mnt", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return apart(unix.CLONE_FS, func() error {
		if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
			return err
		}
		return read(dir + "/secret")
	})
}

// corePattern writes what the host's kernel would execute for a container.
func corePattern(string) error {
	const pattern = "/proc/sys/kernel/core_pattern"
	before, err := os.ReadFile(pattern)
	if err != nil {
		return err
	}
	if err := os.WriteFile(pattern, []byte("|/overwritten"), 0); err != nil {
		return err
	}
	after, err := os.ReadFile(pattern)
	if err == nil && !strings.Contains(string(after), "overwritten") {
		err = errNoEffect
	}
	return errors.Join(err, os.WriteFile(pattern, before, 0))
}
