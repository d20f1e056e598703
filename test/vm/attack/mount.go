package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	add(map[string]func(string) error{
		"bind-mount":       bindMount,
		"bind-mount-write": bindMountWrite,
		"bind-mount-file":  bindMountFile,
		"unshare-mount": func(dir string) error {
			return apart(unix.CLONE_NEWNS, func() error { return bindMount(dir) })
		},
		"dead-namespace": deadNamespace,
		"overlay-mount":  overlayMount,
		"overlay-exec": func(dir string) error {
			return played("layered", dir, unix.CLONE_NEWUSER|unix.CLONE_NEWNS)
		},
		"detached-mount": detachedMount,
		"copy-mount": func(dir string) error {
			_, err := unix.OpenTree(unix.AT_FDCWD, dir+"/sub", unix.OPEN_TREE_CLONE)
			return err
		},
		"moved-mount":    movedMount,
		"tmpfs-mount":    tmpfsMount,
		"remount":        remount,
		"set-mount":      setMount,
		"user-namespace": userNamespace,
		"chroot":         chroot,
		"pivot-root":     pivotRoot,
		"join-namespace": joinNamespace,
	})
}

func mkdir(path string) (string, error) { return path, os.MkdirAll(path, 0o755) }

func bindMount(dir string) error {
	to, err := bound(dir)
	if err != nil {
		return err
	}
	return read(to + "/secret")
}

// bindMountWrite changes the file by its other path.
func bindMountWrite(dir string) error {
	to, err := bound(dir)
	if err != nil {
		return err
	}
	return overwrite(to+"/secret", os.O_WRONLY)
}

// bound shows the directory elsewhere.
func bound(dir string) (string, error) {
	to, err := mkdir("/run/mnt/" + filepath.Base(dir))
	if err != nil {
		return "", err
	}
	return to, unix.Mount(dir+"/sub", to, "", unix.MS_BIND, "")
}

func bindMountFile(dir string) error {
	to := "/run/" + filepath.Base(dir) + "-file"
	if err := os.WriteFile(to, nil, 0o644); err != nil {
		return err
	}
	if err := unix.Mount(dir+"/sub/secret", to, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return read(to)
}

// overlayMount shows the directory through another file system.
func overlayMount(dir string) error {
	to, err := mkdir("/run/mnt/" + filepath.Base(dir))
	if err != nil {
		return err
	}
	if err := unix.Mount("overlay", to, "overlay", 0, "lowerdir="+dir+"/sub:"+dir+"/empty"); err != nil {
		return err
	}
	return read(to + "/secret")
}

// deadNamespace reads through a mount whose namespace has ended: it is nowhere, and a
// path on it ends at its root.
func deadNamespace(dir string) error {
	for range 5 {
		var fd int
		err := apart(unix.CLONE_NEWNS, func() (err error) {
			fd, err = unix.Open(dir+"/sub", unix.O_RDONLY|unix.O_DIRECTORY, 0)
			return err
		})
		if err != nil {
			return err
		}
		// A process's first thread does not end: then another is tried.
		if !moved(fd, dir+"/sub") {
			continue
		}
		file, err := unix.Openat(fd, "secret", unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return readFrom(file)
	}
	return fmt.Errorf("%w: the namespace does not end", errNoEffect)
}

// moved waits until a descriptor's file is somewhere else.
func moved(fd int, from string) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if now, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && now != from {
			return true
		}
	}
	return false
}

// layered executes what it wrote as if it were of a lower layer.
func layered(dir string) {
	at := "/run/layers/" + filepath.Base(dir)
	for _, d := range []string{"/lower", "/empty", "/merged"} {
		if _, err := mkdir(at + d); err != nil {
			fmt.Println(outcome(err))
			return
		}
	}
	err := copyFile(dir+"/denied", at+"/lower/brought")
	if err == nil {
		err = unix.Mount("overlay", at+"/merged", "overlay", 0, "lowerdir="+at+"/lower:"+at+"/empty")
	}
	if err == nil {
		err = run(at + "/merged/brought")
	}
	fmt.Println(outcome(err))
}

// detachedMount reads through a mount that is nowhere.
func detachedMount(dir string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir+"/sub", unix.OPEN_TREE_CLONE)
	if err != nil {
		return err
	}
	file, err := unix.Openat(fd, "secret", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return readFrom(file)
}

// movedMount is a bind mount by the newer system calls.
func movedMount(dir string) error {
	to, err := mkdir("/run/mnt/" + filepath.Base(dir))
	if err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir+"/sub", unix.OPEN_TREE_CLONE)
	if err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, to, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	return read(to + "/secret")
}

func tmpfsMount(dir string) error {
	return unix.Mount("tmpfs", dir+"/empty", "tmpfs", 0, "")
}

// remount takes a restriction of a mount away.
func remount(string) error {
	return unix.Mount("", "/data", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID, "")
}

// setMount does it by a system call that has no hook.
func setMount(string) error {
	return unix.MountSetattr(unix.AT_FDCWD, "/data", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID})
}

// userNamespace gets every capability there, and mounts.
func userNamespace(dir string) error {
	return played("mounter", dir, unix.CLONE_NEWUSER|unix.CLONE_NEWNS)
}

func mounter(dir string) {
	fmt.Println(outcome(unix.Mount("tmpfs", dir+"/empty", "tmpfs", 0, "")))
}

func chroot(dir string) error {
	if err := syscall.Chroot(dir + "/root"); err != nil {
		return err
	}
	_, err := os.Stat("/bin/denied")
	return err
}

func pivotRoot(dir string) error {
	return apart(unix.CLONE_NEWNS, func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		if err := unix.Mount(dir+"/root", dir+"/root", "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := unix.Chdir(dir + "/root"); err != nil {
			return err
		}
		if err := unix.PivotRoot(".", "."); err != nil {
			return err
		}
		_, err := os.Stat("/bin/denied")
		return err
	})
}

// joinNamespace enters one that another process has.
func joinNamespace(string) error {
	other, err := start("wait", "-", unix.CLONE_NEWUTS)
	if err != nil {
		return err
	}
	defer other.end()
	return apart(unix.CLONE_FS, func() error {
		fd, err := unix.Open("/proc/"+other.pid()+"/ns/uts", unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return unix.Setns(fd, unix.CLONE_NEWUTS)
	})
}
