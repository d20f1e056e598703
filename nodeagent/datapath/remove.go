package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
)

// Close lets go of the kernel, which goes on enforcing.
func (d *Datapath) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for name, l := range d.links {
		errs = append(errs, l.Close())
		delete(d.links, name)
	}
	errs = append(errs, d.judge.Close(), d.engine.tables.Close())
	d.judge, d.engine.tables = nil, nil
	for name, m := range d.maps {
		errs = append(errs, m.Close())
		delete(d.maps, name)
	}
	errs = append(errs, d.array.Close(), d.programs.Close())
	d.array, d.programs = nil, nil
	return errors.Join(errs...)
}

// Uninstall closes the datapath and takes it out of the kernel: traffic is open.
func (d *Datapath) Uninstall() error {
	return errors.Join(Remove(d.config.PinDir), d.Close())
}

// Remove detaches what is pinned in a directory and removes it, whether or not an
// agent runs. Links go first, so that nothing judges by halves.
func Remove(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPinDir, err)
	}
	known := map[string]bool{bpf.MapPrograms: true}
	for _, a := range attachments {
		known[a.name] = true
		if err := detach(filepath.Join(dir, a.name)); err != nil {
			return fmt.Errorf("detach %s: %w", a.name, err)
		}
	}
	if err := detachCompanion(dir); err != nil {
		return err
	}
	known[companionDir] = true
	for _, e := range entries {
		if known[e.Name()] || strings.HasPrefix(e.Name(), "tables-") || strings.HasPrefix(e.Name(), "state-") {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("remove pins: %w", err)
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}

// A Companion keeps its pins in a directory of its own, links by a prefix.
const (
	companionDir   = "runtime"
	CompanionLinks = "link-"
)

func detachCompanion(dir string) error {
	links, err := filepath.Glob(filepath.Join(dir, companionDir, CompanionLinks+"*"))
	if err != nil {
		return err
	}
	for _, path := range links {
		if err := detach(path); err != nil {
			return fmt.Errorf("detach %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

// CompanionDir is where a Companion keeps its pins.
func (c Config) CompanionDir() string { return c.withDefaults().pin(companionDir) }

// detach removes a pinned link. The pin goes before the last descriptor: closing
// that one waits until the program is off its hook, removing a file does not.
func detach(path string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(path), l.Close())
}

// removeOthers drops the pins of tables and state that this agent does not use.
func (d *Datapath) removeOthers() error {
	for _, pattern := range []string{"tables-*", "state-*"} {
		dirs, err := filepath.Glob(d.config.pin(pattern))
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if dir == d.config.stateDir() || dir == d.config.tablesDir(d.engine.tables.Capacity()) {
				continue
			}
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("remove pins: %w", err)
			}
		}
	}
	return nil
}
