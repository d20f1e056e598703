//go:build guest

package inside

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/nodeagent/datapath"
)

// TestKernelWithoutNetfilterBPF: where the kernel is too old, that is what the
// error says, in one line with the remedy, and nothing is left behind.
func TestKernelWithoutNetfilterBPF(t *testing.T) {
	before := programs(t)
	for name, err := range map[string]error{
		"Probe": datapath.Probe(),
		"Open": func() error {
			d, err := datapath.Open(datapath.Config{})
			if err == nil {
				must(t, d.Uninstall())
			}
			return err
		}(),
	} {
		if !errors.Is(err, datapath.ErrKernel) {
			t.Errorf("%s: %v, want %v", name, err, datapath.ErrKernel)
			continue
		}
		text := err.Error()
		for _, part := range []string{"Linux 6.1.", "netfilter", "use Linux 6.4 or later"} {
			if !strings.Contains(text, part) || strings.Contains(text, "\n") {
				t.Errorf("%s says %q: want one line with %q", name, text, part)
			}
		}
		t.Logf("%s: %s", name, text)
	}
	must(t, filepath.WalkDir("/sys/fs/bpf", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(path, "palisade") {
			t.Errorf("%s is left behind", path)
		}
		return err
	}))
	if after := programs(t); after > before {
		t.Errorf("%d programs in the kernel, %d before", after, before)
	}
}

// programs counts the programs in the kernel.
func programs(t *testing.T) int {
	t.Helper()
	count := 0
	for id := ebpf.ProgramID(0); ; count++ {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, fs.ErrNotExist) {
			return count
		}
		must(t, err)
		id = next
	}
}
