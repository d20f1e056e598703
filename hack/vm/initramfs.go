package vm

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// archive writes the "newc" form of cpio, which the kernel unpacks as its first
// root file system.
type archive struct {
	w       io.Writer
	written int64
	inode   int
	have    map[string]bool
	err     error
}

const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

func newArchive(w io.Writer) *archive { return &archive{w: w, have: map[string]bool{"/": true}} }

// dir adds a folder and those that it is in.
func (a *archive) dir(name string) {
	name = path.Clean("/" + name)
	if a.have[name] {
		return
	}
	a.dir(path.Dir(name))
	a.entry(name, modeDir|0o755, nil)
}

// file adds a file with its content.
func (a *archive) file(name string, mode fs.FileMode, data []byte) {
	name = path.Clean("/" + name)
	a.dir(path.Dir(name))
	a.entry(name, modeFile|uint32(mode.Perm()), data)
}

// copy adds what is at source, a file or a whole folder, links as links inside it.
func (a *archive) copy(source, name string) error {
	resolved, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	return filepath.WalkDir(resolved, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := path.Join("/", name, strings.TrimPrefix(p, resolved))
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			a.dir(to)
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			a.dir(path.Dir(to))
			a.entry(to, modeLink|0o777, []byte(target))
		case d.Type().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			a.file(to, info.Mode(), data)
		default:
			return fmt.Errorf("%s: neither a file nor a folder nor a link", p)
		}
		return nil
	})
}

// tool adds a program of this machine and the libraries that it needs.
func (a *archive) tool(file string) error {
	if err := a.copy(file, file); err != nil {
		return err
	}
	out, err := exec.Command("ldd", file).Output()
	if err != nil {
		return nil // a static program
	}
	for line := range strings.Lines(string(out)) {
		for _, field := range strings.Fields(line) {
			if strings.HasPrefix(field, "/") {
				if err := a.copy(field, field); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// all adds every file of the map, target to source, in order of the targets.
func (a *archive) all(files map[string]string) error {
	var targets []string
	for t := range files {
		targets = append(targets, t)
	}
	sort.Strings(targets)
	for _, t := range targets {
		if err := a.copy(files[t], t); err != nil {
			return fmt.Errorf("file %s: %w", t, err)
		}
	}
	return nil
}

func (a *archive) entry(name string, mode uint32, data []byte) {
	if a.have[name] {
		return
	}
	a.have[name] = true
	a.inode++
	a.record(a.inode, mode, strings.TrimPrefix(name, "/"), data)
}

// record writes one header of 13 numbers in hexadecimal, a name and a content,
// each padded to four bytes.
func (a *archive) record(inode int, mode uint32, name string, data []byte) {
	numbers := [13]int{inode, int(mode), 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0}
	header := "070701"
	for _, n := range numbers {
		header += fmt.Sprintf("%08x", n)
	}
	a.write([]byte(header + name + "\x00"))
	a.pad()
	a.write(data)
	a.pad()
}

func (a *archive) pad() {
	if rest := a.written % 4; rest != 0 {
		a.write(make([]byte, 4-rest))
	}
}

func (a *archive) write(data []byte) {
	if a.err != nil {
		return
	}
	n, err := a.w.Write(data)
	a.written += int64(n)
	a.err = err
}

// close ends the archive.
func (a *archive) close() error {
	a.record(0, 0, "TRAILER!!!", nil)
	return a.err
}
