package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

func init() {
	add(map[string]func(string) error{
		"exec":                 func(dir string) error { return run(dir + "/denied") },
		"exec-symlink":         execSymlink,
		"exec-thread":          func(dir string) error { return runBy("thread", dir+"/denied") },
		"exec-descriptor":      func(dir string) error { return runBy("descriptor", dir+"/denied") },
		"exec-path-descriptor": func(dir string) error { return runBy("path-descriptor", dir+"/denied") },
		"exec-proc-descriptor": func(dir string) error { return runBy("proc-descriptor", dir+"/denied") },
		"exec-directory":       func(dir string) error { return runBy("directory", dir+"/denied") },
		"exec-proc-root":       func(dir string) error { return run("/proc/self/root" + dir + "/denied") },
		"copy-denied":          copyDenied,
		"rename-denied":        renameDenied,
		"link-denied":          linkDenied,
		"deep-denied":          func(dir string) error { return run(deep(dir) + "/denied") },
		"script":               func(dir string) error { return run(dir + "/script") },
		"denied-script":        func(dir string) error { return run(dir + "/plain") },
		"nested-script":        func(dir string) error { return run(dir + "/nested") },
		"loader":               loader,
		"memfd-exec":           func(dir string) error { return memfdExec(dir, 0) },
		"memfd-sealed-exec": func(dir string) error {
			return memfdExec(dir, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
		},
		"memfd-descriptor-exec": memfdDescriptorExec,
		"shm-exec":              func(dir string) error { return copyExec(dir, "/dev/shm/"+filepath.Base(dir)) },
		"tmpfs-exec":            func(dir string) error { return copyExec(dir, "/run/"+filepath.Base(dir)) },
		"volume-exec":           func(dir string) error { return copyExec(dir, "/data/"+filepath.Base(dir)) },
		"unlinked-exec":         unlinkedExec,
		"overwrite-exec":        overwriteExec,
		"unshare-exec":          unshareExec,
		"chroot-exec":           chrootExec,
		"race-exec":             raceExec,
	})
}

func execSymlink(dir string) error {
	if err := os.Symlink(dir+"/denied", dir+"/alias"); err != nil {
		return err
	}
	return run(dir + "/alias")
}

func copyExec(dir, to string) error {
	if err := copyFile(dir+"/denied", to); err != nil {
		return err
	}
	return run(to)
}

func copyDenied(dir string) error { return copyExec(dir, dir+"/copied") }

func renameDenied(dir string) error {
	if err := os.Rename(dir+"/denied", dir+"/renamed"); err != nil {
		return err
	}
	return run(dir + "/renamed")
}

func linkDenied(dir string) error {
	if err := os.Link(dir+"/denied", dir+"/linked"); err != nil {
		return err
	}
	return run(dir + "/linked")
}

// loader has the dynamic linker run a program, so that only the linker is executed.
// The linker does not say why it cannot map a file; mapping it again does.
func loader(dir string) error {
	path := dir + "/dynamic"
	err := effect(exec.Command("/lib64/ld-linux-x86-64.so.2", path, ran))
	if err == nil {
		return nil
	}
	fd, oerr := unix.Open(path, unix.O_RDONLY, 0)
	if oerr != nil {
		return errors.Join(err, oerr)
	}
	defer unix.Close(fd)
	_, merr := unix.Mmap(fd, 0, 1, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	return errors.Join(err, merr)
}

// memfd makes a program that has no file.
func memfd(dir string, seals int) (int, error) {
	data, err := os.ReadFile(dir + "/denied")
	if err != nil {
		return 0, err
	}
	flags := 0
	if seals != 0 {
		flags = unix.MFD_ALLOW_SEALING
	}
	fd, err := unix.MemfdCreate("program", flags)
	if err != nil {
		return 0, err
	}
	if _, err := unix.Write(fd, data); err != nil {
		return 0, err
	}
	if seals != 0 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			return 0, err
		}
	}
	return fd, nil
}

func memfdExec(dir string, seals int) error {
	fd, err := memfd(dir, seals)
	if err != nil {
		return err
	}
	return run(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd))
}

func memfdDescriptorExec(dir string) error {
	fd, err := memfd(dir, 0)
	if err != nil {
		return err
	}
	return runBy("descriptor", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd))
}

// unlinkedExec executes a file that has no name any more.
func unlinkedExec(dir string) error {
	name := dir + "/unlinked"
	if err := copyFile(dir+"/denied", name); err != nil {
		return err
	}
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil {
		return err
	}
	return run(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd))
}

// overwriteExec puts another program's content into one that may run.
func overwriteExec(dir string) error {
	if err := copyFile(dir+"/denied", dir+"/silent"); err != nil {
		return err
	}
	return run(dir + "/silent")
}

// unshareExec looks from namespaces of its own, so that a table by pid and mount
// namespace knows it no more.
func unshareExec(dir string) error {
	cmd := exec.Command(self(), "become", "execve", dir+"/denied")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	return effect(cmd)
}

// chrootExec has another idea of what / is.
func chrootExec(dir string) error {
	cmd := exec.Command("/bin/denied")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir + "/root"}
	return effect(cmd)
}

// raceExec changes the path in memory while the kernel reads it.
func raceExec(dir string) error {
	last := errNoEffect
	for range 20 {
		err := runBy("race", dir+"/denied")
		if err == nil {
			return nil
		}
		if !errors.Is(err, errNoEffect) {
			last = err
		}
	}
	return last
}

func init() {
	becoming["race"] = func(path string) error {
		buffer, stop := flipping(path, "denied", "permit")
		defer stop()
		argv := []*byte{&buffer[0], nil}
		_, _, e := unix.RawSyscall(unix.SYS_EXECVE, pointer(&buffer[0]), pointer(&argv[0]), pointer(&argv[1]))
		return e
	}
}
