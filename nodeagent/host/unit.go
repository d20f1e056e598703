package host

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// UnitName is the systemd unit that brings the last snapshot into force at boot.
const UnitName = "palisade-boot.service"

// BootProgram is where the program that the unit runs is put on a host.
const BootProgram = "/opt/palisade/bin/nodeagent"

// UnitDir is where an administrator's units are.
const UnitDir = "/etc/systemd/system"

//go:embed palisade-boot.service.tmpl
var unitText string

var unitTemplate = template.Must(template.New(UnitName).Parse(unitText))

// Unit is the text of the unit that runs a command.
func Unit(command ...string) string {
	var b bytes.Buffer
	if err := unitTemplate.Execute(&b, strings.Join(command, " ")); err != nil {
		panic(err) // the template has one field, a string
	}
	return b.String()
}

// wants is the link that enables the unit.
func wants(root string) string {
	return filepath.Join(root, UnitDir, "multi-user.target.wants", UnitName)
}

// InstallUnit writes and enables the unit on the host whose root is given. systemd
// finds it at the next boot, or when it reads its units anew.
func InstallUnit(root, text string) error {
	if err := os.MkdirAll(filepath.Dir(wants(root)), 0o755); err != nil {
		return fmt.Errorf("unit %s: %w", UnitName, err)
	}
	path := filepath.Join(root, UnitDir, UnitName)
	if was, err := os.ReadFile(path); err != nil || string(was) != text {
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			return fmt.Errorf("unit %s: %w", path, err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			return fmt.Errorf("unit %s: %w", path, err)
		}
	}
	if err := os.Symlink("../"+UnitName, wants(root)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("unit %s: enable: %w", UnitName, err)
	}
	return nil
}

// RemoveUnit disables and removes the unit.
func RemoveUnit(root string) error {
	for _, path := range []string{wants(root), filepath.Join(root, UnitDir, UnitName)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unit %s: %w", UnitName, err)
		}
	}
	return nil
}

// RemoveBoot removes the unit, its program, and the program's folders where these hold
// nothing else.
func RemoveBoot(root string) error {
	if err := RemoveUnit(root); err != nil {
		return err
	}
	program := filepath.Join(root, BootProgram)
	if err := os.Remove(program); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("program of unit %s: %w", UnitName, err)
	}
	// A folder may hold somebody else's files, or be what a container sees the host
	// through. Either way it stays, and nothing is wrong.
	for dir := filepath.Dir(program); dir != filepath.Join(root, "/opt"); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			break
		}
	}
	return nil
}

// UnitEnabled reports whether the host whose root is given has the unit, enabled.
func UnitEnabled(root string) bool {
	_, unit := os.Stat(filepath.Join(root, UnitDir, UnitName))
	_, link := os.Lstat(wants(root))
	return unit == nil && link == nil
}

// Root is the host's file system as seen by its first process; in a container that
// has the host's /proc too.
func (h Host) Root() string { return filepath.Join(h.Proc, "1/root") }
