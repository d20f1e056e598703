package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"
)

// defect is one edit that makes the program wrong.
type defect struct {
	name     string
	text     string // what is wrong
	file     string
	old, new []byte
	test     []string // arguments of go test
	prepare  string   // shell command to run before the tests; may be empty
}

func readDefects(dir string) ([]*defect, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	var out []*defect
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			return nil, err
		}
		d, err := newDefect(strings.TrimSuffix(filepath.Base(file), ".txtar"), archive)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, d)
	}
	return out, nil
}

func newDefect(name string, archive *txtar.Archive) (*defect, error) {
	d := &defect{name: name}
	var text []string
	for line := range strings.Lines(string(archive.Comment)) {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "file":
			d.file = value
		case "test":
			d.test = strings.Fields(value)
		case "prepare":
			d.prepare = value
		default:
			if line != "" {
				text = append(text, line)
			}
		}
	}
	d.text = strings.Join(text, " ")
	for _, f := range archive.Files {
		switch f.Name {
		case "old":
			d.old = f.Data
		case "new":
			d.new = f.Data
		default:
			return nil, fmt.Errorf("section %q: it has old and new", f.Name)
		}
	}
	if d.file == "" || len(d.test) == 0 || len(d.old) == 0 || d.text == "" {
		return nil, fmt.Errorf("it needs a text, file:, test: and the section old")
	}
	return d, nil
}

// try plants the defect in a copy of the tree, returns the tests that fail, and
// takes it out again.
func (d *defect) try(ctx context.Context, dir string) (caught []string, err error) {
	path := filepath.Join(dir, d.file)
	original, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(original, d.old); n != 1 {
		return nil, fmt.Errorf("%s holds the old text %d times; it must hold it once", d.file, n)
	}
	if err := os.WriteFile(path, bytes.Replace(original, d.old, d.new, 1), 0o644); err != nil {
		return nil, err
	}
	defer func() {
		restored := os.WriteFile(path, original, 0o644)
		if restored == nil {
			restored = d.prepareTree(ctx, dir)
		}
		if err == nil {
			err = restored
		}
	}()
	if err := d.prepareTree(ctx, dir); err != nil {
		return nil, err
	}
	return runTests(ctx, dir, d.test)
}

func (d *defect) prepareTree(ctx context.Context, dir string) error {
	if d.prepare == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", d.prepare)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", d.prepare, err, bytes.TrimSpace(out))
	}
	return nil
}
