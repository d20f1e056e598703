package container

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is a directory with what one attack needs.
type Tree struct {
	// At is where the container sees it, for scripts, which name their interpreter.
	At string
	// Deep has paths of many components, Long long ones, Endless ones that are
	// longer than the kernel takes.
	Deep, Long, Endless bool
	// Files are copied: name to a file of the node.
	Files map[string]string
}

// Write makes the tree below root.
func (t Tree) Write(root string) error {
	dir := filepath.Join(root, t.At)
	runs, permitted := Printing("ran"), Printing("permitted")
	for name, content := range map[string][]byte{
		"secret": []byte("secret of " + t.At), "public": []byte("public"),
		"sub/secret": []byte("secret below"), "sub/denied": runs, "root/bin/denied": runs, "empty/": nil,
		"denied": runs, "runner": runs, "permit": permitted, "silent": permitted,
		"script": []byte("#!" + t.At + "/denied\n"),
		"plain":  []byte("#!" + t.At + "/runner\n"),
		"reader": []byte("#!" + AttackProgram + " read-beside\n"),
		"nested": []byte("#!" + t.At + "/script\n"),
		// mov eax, 42; ret
		"code": append([]byte{0xb8, 42, 0, 0, 0, 0xc3}, make([]byte, 4090)...),
	} {
		if err := write(filepath.Join(dir, name), content, strings.HasSuffix(name, "/")); err != nil {
			return err
		}
	}
	if err := os.Symlink("sub/../secret", filepath.Join(dir, "link")); err != nil {
		return err
	}
	for name, from := range t.Files {
		if err := Copy(from, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, far := range []struct {
		wanted bool
		below  string
	}{
		{t.Deep, strings.Repeat("d/", 64)},
		{t.Long, strings.Repeat(strings.Repeat("n", 200)+"/", 9)},
	} {
		if !far.wanted {
			continue
		}
		if err := errors.Join(
			write(filepath.Join(dir, far.below, "secret"), []byte("secret"), false),
			write(filepath.Join(dir, far.below, "denied"), runs, false),
		); err != nil {
			return err
		}
	}
	if t.Endless {
		return endless(filepath.Join(dir, "endless"))
	}
	return nil
}

func write(name string, content []byte, directory bool) error {
	if directory {
		return os.MkdirAll(name, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o755)
}

// Copy copies a file and its mode.
func Copy(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return write(to, data, false)
}

// endless makes a secret 5,000 bytes below dir.
func endless(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	at, err := unix.Open(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	name := strings.Repeat("e", 250)
	for range 20 {
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			return err
		}
		next, err := unix.Openat(at, name, unix.O_DIRECTORY, 0)
		if err := errors.Join(err, unix.Close(at)); err != nil {
			return err
		}
		at = next
	}
	fd, err := unix.Openat(at, "secret", unix.O_CREAT|unix.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("secret"))
	return errors.Join(err, unix.Close(fd), unix.Close(at))
}
