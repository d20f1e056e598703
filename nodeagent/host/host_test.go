package host

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inNamespace runs the test in a network namespace of its own. The thread dies
// with the goroutine, and the namespace with the thread.
func inNamespace(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		ns, err := netns.New()
		if err != nil {
			t.Error(err)
			return
		}
		defer ns.Close()
		f(t)
	}()
	<-done
}

func TestPrepareSetsBridgesAndTracking(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		h := Host{Proc: "/proc", Sys: "/sys", PinDir: "/sys/fs/bpf/x"}
		vlan := "/proc/sys/net/bridge/bridge-nf-filter-vlan-tagged"
		if err := os.WriteFile(vlan, []byte("0"), 0o644); err != nil {
			t.Skip("kernel without br_netfilter")
		}
		if fs := h.bridges(); len(fs) != 0 {
			t.Errorf("findings: %s", Join(fs))
		}
		if b, err := os.ReadFile(vlan); err != nil || string(b) != "1\n" {
			t.Errorf("%s = %q, %v", vlan, b, err)
		}
		ro := h
		ro.ReadOnly = true
		if err := os.WriteFile(vlan, []byte("0"), 0o644); err != nil {
			t.Fatal(err)
		}
		if fs := ro.bridges(); len(fs) != 1 || !strings.HasPrefix(fs[0].Mend, setByItself) || !strings.Contains(fs[0].Mend, "sysctl -w net.bridge.bridge-nf-filter-vlan-tagged=1") {
			t.Errorf("only looked at: %s", Join(fs))
		}
		if fs := h.bridges(); len(fs) != 0 {
			t.Errorf("findings: %s", Join(fs))
		}
		if fs := ro.tracking(); len(fs) != 1 || fs[0].Reason != ReasonKernel || !strings.HasPrefix(fs[0].Mend, setByItself) {
			t.Errorf("tracking before: %s", Join(fs))
		}
		for range 2 {
			if fs := h.tracking(); len(fs) != 0 {
				t.Errorf("tracking: %s", Join(fs))
			}
		}
		if fs := ro.tracking(); len(fs) != 0 {
			t.Errorf("tracking after: %s", Join(fs))
		}
		c := &nftables.Conn{}
		if rules, err := c.GetRules(&nftables.Table{Family: nftables.TableFamilyINet, Name: trackingTable}, &nftables.Chain{Name: trackingChain}); err != nil || len(rules) != 1 {
			t.Errorf("rules = %d, %v; want one however often", len(rules), err)
		}
		if err := h.Untrack(); err != nil {
			t.Fatal(err)
		}
		if fs := ro.tracking(); len(fs) != 1 {
			t.Errorf("tracking after Untrack: %s", Join(fs))
		}
	})
}

func TestSettingThatCannotBeSet(t *testing.T) {
	tests := map[string]struct {
		make func(path string) error
		want string
	}{
		"missing": {func(string) error { return nil }, "cannot be read: no such file or directory"},
		"stays": {func(p string) error {
			// A pipe swallows the write and reads back what was put there: nothing set.
			return os.Symlink("/dev/null", p)
		}, "it stays"},
		"read-only": {func(p string) error {
			if err := os.WriteFile(p, []byte("0\n"), 0o444); err != nil {
				return err
			}
			return unix.Mount(p, p, "", unix.MS_BIND, "")
		}, "it is 0 and cannot be set: read-only file system"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("needs root: mounts")
			}
			dir := t.TempDir()
			path := filepath.Join(dir, "sys/net/bridge", "bridge-nf-call-iptables")
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := tc.make(path); err != nil {
				t.Fatal(err)
			}
			if name == "read-only" {
				t.Cleanup(func() { unix.Unmount(path, 0) })
				if err := unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
					t.Fatal(err)
				}
			}
			fs := Host{Proc: dir}.bridges()
			if len(fs) == 0 || !strings.Contains(fs[0].String(), tc.want) || !strings.Contains(fs[0].Mend, "sysctl -w net.bridge.bridge-nf-call-iptables=1") || fs[0].Severity != Bypass {
				t.Errorf("findings: %s; want %q", Join(fs), tc.want)
			}
		})
	}
}

func TestBridgeModuleMissing(t *testing.T) {
	dir := t.TempDir()
	h := Host{Proc: dir, Sys: dir}
	if fs := h.bridges(); len(fs) != 0 {
		t.Errorf("no bridge, yet: %s", Join(fs))
	}
	if err := os.MkdirAll(filepath.Join(dir, "class/net/cni0/bridge"), 0o755); err != nil {
		t.Fatal(err)
	}
	if fs := h.bridges(); len(fs) != 1 || !strings.Contains(fs[0].String(), "bridge cni0") || !strings.Contains(fs[0].Mend, "modprobe br_netfilter") {
		t.Errorf("findings: %s", Join(fs))
	}
}

func TestBPFFSMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep/palisade")
	fs := Host{PinDir: dir}.bpffs()
	if len(fs) != 1 || fs[0].Severity != Fatal || fs[0].Where != dir || !strings.Contains(fs[0].Mend, "mount -t bpf") {
		t.Errorf("findings: %s", Join(fs))
	}
}

func TestKernelWithoutTypes(t *testing.T) {
	fs := Host{Sys: t.TempDir()}.kernel()
	if len(fs) == 0 || fs[0].Reason != ReasonKernel || Worst(fs) != Fatal {
		t.Errorf("findings: %s", Join(fs))
	}
}

func TestPrivilegesMissing(t *testing.T) {
	var fs []Finding
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread without privileges dies with the goroutine
		var none [2]unix.CapUserData
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			t.Error(err)
			return
		}
		fs = Host{}.privileges()
	}()
	<-done
	if len(fs) != 1 || fs[0].Severity != Fatal || !strings.Contains(fs[0].Where, "CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_ADMIN") || !strings.Contains(fs[0].Mend, "root") {
		t.Errorf("findings: %s", Join(fs))
	}
}

func TestWatchReportsChanges(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan []Finding)
	done := make(chan struct{})
	go func() {
		defer close(done)
		Host{Proc: dir, Sys: dir, PinDir: dir, ReadOnly: true}.Watch(ctx, time.Millisecond, func(fs []Finding) {
			select {
			case got <- fs:
			case <-ctx.Done():
			}
		})
	}()
	first := <-got
	if err := os.MkdirAll(filepath.Join(dir, "class/net/cni0/bridge"), 0o755); err != nil {
		t.Fatal(err)
	}
	if second := <-got; len(second) != len(first)+1 {
		t.Errorf("second report: %s", Join(second))
	}
	cancel()
	<-done
}
