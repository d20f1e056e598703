package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// copyTree copies the files that are in the checkout or would be committed.
func copyTree(ctx context.Context, to string) error {
	out, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for _, name := range strings.Split(strings.TrimRight(string(out), "\x00"), "\x00") {
		info, err := os.Lstat(name)
		if os.IsNotExist(err) {
			continue // deleted, not yet committed
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if info.Mode()&os.ModeSymlink != 0 {
			link, err := os.Readlink(name)
			if err != nil {
				return err
			}
			if err := os.Symlink(link, target); err != nil {
				return err
			}
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	return nil
}

// baseline runs all tests that defects name on the sound tree: a test that fails
// there proves nothing.
func baseline(ctx context.Context, dir string, defects []*defect) error {
	var seen []string
	for _, d := range defects {
		key := strings.Join(d.test, " ")
		if slices.Contains(seen, key) {
			continue
		}
		seen = append(seen, key)
		failed, err := runTests(ctx, dir, d.test)
		if err != nil {
			return fmt.Errorf("go test %s: %w", key, err)
		}
		if len(failed) > 0 {
			return fmt.Errorf("go test %s fails without any defect: %s", key, summary(failed))
		}
	}
	return nil
}

// runTests runs go test and lists the tests that failed, the innermost only.
func runTests(ctx context.Context, dir string, args []string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json", "-count=1", "-timeout=5m"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PALISADE_FAST=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := cmd.Run()
	failed, buildFailed, err := parseEvents(&stdout)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case buildFailed:
		return nil, fmt.Errorf("the tree does not build: %s", bytes.TrimSpace(stderr.Bytes()))
	case runErr != nil && len(failed) == 0:
		return nil, fmt.Errorf("go test: %w: %s", runErr, bytes.TrimSpace(stderr.Bytes()))
	}
	return failed, nil
}

// parseEvents reads the output of go test -json.
func parseEvents(r *bytes.Buffer) (failed []string, buildFailed bool, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct{ Action, Package, Test, FailedBuild string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, false, fmt.Errorf("go test -json: %w", err)
		}
		if event.FailedBuild != "" || event.Action == "build-fail" {
			buildFailed = true
		}
		if event.Action != "fail" {
			continue
		}
		name := event.Test
		if name == "" {
			if len(failed) > 0 {
				continue
			}
			name = "(package)" // it crashed, or ran out of time
		}
		failed = append(failed, strings.TrimPrefix(event.Package, "palisade.dev/palisade/")+":"+name)
	}
	return innermost(failed), buildFailed, lines.Err()
}

// innermost leaves out the tests of which a subtest is listed too.
func innermost(tests []string) []string {
	return slices.DeleteFunc(slices.Clone(tests), func(t string) bool {
		return slices.ContainsFunc(tests, func(o string) bool { return strings.HasPrefix(o, t+"/") })
	})
}
