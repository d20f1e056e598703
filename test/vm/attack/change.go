package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	add(map[string]func(string) error{
		"write":          func(dir string) error { return overwrite(dir+"/secret", os.O_WRONLY) },
		"append":         func(dir string) error { return overwrite(dir+"/secret", os.O_WRONLY|os.O_APPEND) },
		"open-truncated": openTruncated,
		"truncate": func(dir string) error {
			return changedSize(dir, func(path string) error { return os.Truncate(path, 0) })
		},
		"fallocate": fallocate,
		"create":    create,
		"create-mknod": func(dir string) error {
			return made(dir+"/sub/new", func(path string) error { return unix.Mknod(path, unix.S_IFREG|0o644, 0) })
		},
		"create-directory": func(dir string) error {
			return made(dir+"/sub/new", func(path string) error { return os.Mkdir(path, 0o755) })
		},
		"create-symlink": func(dir string) error {
			return made(dir+"/sub/new", func(path string) error { return os.Symlink("/", path) })
		},
		"create-rename": func(dir string) error {
			return made(dir+"/sub/new", func(path string) error { return os.Rename(dir+"/public", path) })
		},
		"create-link": func(dir string) error {
			return made(dir+"/sub/new", func(path string) error { return os.Link(dir+"/public", path) })
		},
		"create-unnamed": createUnnamed,
		"delete":         func(dir string) error { return gone(dir+"/secret", os.Remove) },
		"delete-directory": func(dir string) error {
			return gone(dir+"/empty", func(path string) error { return syscall.Rmdir(path) })
		},
		"replace": replace,
		"chmod-setuid": func(dir string) error {
			return mode(dir, func(path string) error { return syscall.Chmod(path, 0o4755) })
		},
		"chmod-descriptor": chmodDescriptor,
		"chown":            chown,
		"utimes":           utimes,
		"setxattr":         setxattr,
		"set-acl":          setACL,
		"file-flags":       fileFlags,
		"list-attributes":  listAttributes,
	})
}

func overwrite(path string, flags int) error {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("changed")
	return errors.Join(err, f.Close())
}

func openTruncated(dir string) error {
	return changedSize(dir, func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return err
		}
		return f.Close()
	})
}

// changedSize wants the secret's size to be another one afterwards.
func changedSize(dir string, f func(path string) error) error {
	path := dir + "/secret"
	before, err := os.Stat(path)
	if err != nil {
		return err
	}
	if err := f(path); err != nil {
		return err
	}
	after, err := os.Stat(path)
	if err == nil && after.Size() == before.Size() {
		err = errNoEffect
	}
	return err
}

func fallocate(dir string) error {
	return changedSize(dir, func(path string) error {
		fd, err := unix.Open(path, unix.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Fallocate(fd, 0, 0, 8192)
	})
}

func create(dir string) error {
	return made(dir+"/sub/new", func(path string) error { return os.WriteFile(path, nil, 0o644) })
}

func made(path string, f func(string) error) error {
	if err := f(path); err != nil {
		return err
	}
	_, err := os.Lstat(path)
	return err
}

// createUnnamed makes a file without a name, and gives it one.
func createUnnamed(dir string) error {
	fd, err := unix.Open(dir+"/sub", unix.O_TMPFILE|unix.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	return made(dir+"/sub/new", func(path string) error {
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	})
}

func gone(path string, f func(string) error) error {
	if err := f(path); err != nil {
		return err
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return errNoEffect
	}
	return nil
}

// replace puts another file in the secret's place.
func replace(dir string) error {
	if err := os.Rename(dir+"/public", dir+"/secret"); err != nil {
		return err
	}
	return expect(os.ReadFile(dir + "/secret"))
}

func mode(dir string, f func(path string) error) error {
	path := dir + "/denied"
	if err := f(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && info.Mode()&fs.ModeSetuid == 0 {
		err = errNoEffect
	}
	return err
}

func chmodDescriptor(dir string) error {
	return mode(dir, func(path string) error {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Fchmod(fd, 0o4755)
	})
}

func chown(dir string) error {
	if err := os.Chown(dir+"/denied", 7, 7); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/denied", &st); err != nil {
		return err
	}
	if st.Uid != 7 {
		return errNoEffect
	}
	return nil
}

func utimes(dir string) error {
	then := time.Unix(1e9, 0)
	if err := os.Chtimes(dir+"/denied", then, then); err != nil {
		return err
	}
	info, err := os.Stat(dir + "/denied")
	if err == nil && !info.ModTime().Equal(then) {
		err = errNoEffect
	}
	return err
}

// setxattr gives a program a capability, by an attribute of its file.
func setxattr(dir string) error {
	const name = "security.capability"
	value := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Setxattr(dir+"/denied", name, value, 0); err != nil {
		return err
	}
	n, err := unix.Getxattr(dir+"/denied", name, make([]byte, 64))
	if err == nil && n == 0 {
		err = errNoEffect
	}
	return err
}

// setACL gives everything to one more user, by a list of who may what.
func setACL(dir string) error {
	const name = "system.posix_acl_access"
	const userObject, user, groupObject, mask, other = 1, 2, 4, 0x10, 0x20
	value := []byte{2, 0, 0, 0}
	for _, e := range []struct{ tag, permissions, id uint32 }{
		{userObject, 7, ^uint32(0)}, {user, 7, 7}, {groupObject, 5, ^uint32(0)}, {mask, 7, ^uint32(0)}, {other, 5, ^uint32(0)},
	} {
		value = binary.LittleEndian.AppendUint16(value, uint16(e.tag))
		value = binary.LittleEndian.AppendUint16(value, uint16(e.permissions))
		value = binary.LittleEndian.AppendUint32(value, e.id)
	}
	if err := unix.Setxattr(dir+"/denied", name, value, 0); err != nil {
		return err
	}
	n, err := unix.Getxattr(dir+"/denied", name, make([]byte, 128))
	if err == nil && n != len(value) {
		err = errNoEffect
	}
	return err
}

// fileFlags does what chattr does.
func fileFlags(dir string) error {
	const noDump = 0x40
	fd, err := unix.Open(dir+"/denied", unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags|noDump)); err != nil {
		return err
	}
	flags, err = unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err == nil && flags&noDump == 0 {
		err = errNoEffect
	}
	return err
}

// listAttributes has the kernel look whether it may list more than anybody may see.
func listAttributes(string) error {
	_, err := unix.Listxattr("/dev/shm", make([]byte, 1024))
	return err
}
