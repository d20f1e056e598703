package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Version is the beginning of a kernel's version, for example 6.12.
type Version string

// Kernel is an unpacked kernel package.
type Kernel struct {
	Version Version
	Release string // what uname -r says
	Package string // with its version
	Image   string
	tree    string // lib/modules/RELEASE
}

// Find gets the newest kernel of a version that apt offers, from the cache if it
// is there already.
func Find(ctx context.Context, v Version) (Kernel, error) {
	root, err := checkout(ctx)
	if err != nil {
		return Kernel{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "hack/vm/kernel.sh"), string(v))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return Kernel{}, fmt.Errorf("kernel %s: %w", v, err)
	}
	folder := strings.TrimSpace(string(out))
	images, err := filepath.Glob(filepath.Join(folder, "boot/vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return Kernel{}, fmt.Errorf("kernel %s: %d images in %s/boot, want 1: remove the folder to unpack it again", v, len(images), folder)
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	return Kernel{
		Version: v, Release: release, Package: filepath.Base(folder), Image: images[0],
		tree: filepath.Join(folder, "lib/modules", release),
	}, nil
}

// checkoutVariable names the source tree for callers that run elsewhere.
const checkoutVariable = "PALISADE_CHECKOUT"

// checkout is the top of the source tree.
func checkout(ctx context.Context) (string, error) {
	if root := os.Getenv(checkoutVariable); root != "" {
		return root, nil
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	mod := string(bytes.TrimSpace(out))
	if err != nil || filepath.Base(mod) != "go.mod" {
		return "", fmt.Errorf("not in a Go module (%q): run in Palisade's checkout, or set %s", mod, checkoutVariable)
	}
	return filepath.Dir(mod), nil
}
