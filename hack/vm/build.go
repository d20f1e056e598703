package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Build makes a static program of a package of this module.
func Build(ctx context.Context, out, pkg string) error {
	return static(ctx, "build", "-o", out, pkg)
}

// guestTag is the build tag of tests that only make sense in a guest.
const guestTag = "guest"

// BuildTests makes a static program of a package's tests, those with the tag guest
// among them.
func BuildTests(ctx context.Context, out, pkg string) error {
	return static(ctx, "test", "-c", "-tags="+guestTag, "-o", out, pkg)
}

func static(ctx context.Context, args ...string) error {
	root, err := checkout(ctx)
	if err != nil {
		return err
	}
	args = append([]string{args[0], "-trimpath", "-ldflags=-s -w"}, args[1:]...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}
