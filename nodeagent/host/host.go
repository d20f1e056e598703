package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// Host is the node that this process enforces on: the one whose network
// namespace it is in.
type Host struct {
	Proc   string // a writable /proc of the host; containers see their own read-only
	Sys    string // /sys
	PinDir string // where programs and maps are pinned: in a bpffs
	// ReadOnly only looks and sets nothing.
	ReadOnly bool
	// WithoutPackets: a kernel that cannot judge packets is of use all the same.
	WithoutPackets bool
}

// Default is a host seen from its own mounts.
func Default(pinDir string) Host { return Host{Proc: "/proc", Sys: "/sys", PinDir: pinDir} }

// Prepare sets what may be set and returns what lacks afterwards. It may be
// called again at any time, and is, because others set these things too.
func (h Host) Prepare() []Finding {
	fs := h.privileges()
	if len(fs) == 0 {
		// Without privileges the probes would only repeat that.
		fs = append(fs, h.kernel()...)
	}
	fs = append(fs, h.bpffs()...)
	fs = append(fs, h.bridges()...)
	fs = append(fs, h.tracking()...)
	fs = append(fs, h.flowtables()...)
	return fs
}

// needed lists the capabilities that the agent uses, by their numbers.
var needed = []struct {
	bit  uint
	name string
	why  string
}{
	{unix.CAP_BPF, "CAP_BPF", "load programs and maps"},
	{unix.CAP_PERFMON, "CAP_PERFMON", "read kernel structures in programs"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "attach to netfilter, set net sysctls"},
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "look into the network namespaces of pods"},
}

func (h Host) privileges() []Finding {
	const status = "/proc/thread-self/status"
	b, err := os.ReadFile(status)
	if err != nil {
		return []Finding{{ReasonPrivileges, Fatal, "privileges cannot be read: " + cause(err), status, "mount /proc"}}
	}
	var eff uint64
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			eff, _ = strconv.ParseUint(strings.TrimSpace(v), 16, 64) // an unreadable set is an empty one
		}
	}
	var missing, why []string
	for _, n := range needed {
		if eff&(1<<n.bit) == 0 {
			missing, why = append(missing, n.name), append(why, n.why)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []Finding{{
		ReasonPrivileges, Fatal,
		"not privileged to " + strings.Join(why, ", "),
		"user " + strconv.Itoa(os.Geteuid()) + " lacks " + strings.Join(missing, ", "),
		"run as root, or in a container with these capabilities added",
	}}
}

func (h Host) kernel() []Finding {
	var out []Finding
	if _, err := os.Stat(filepath.Join(h.Sys, "kernel/btf/vmlinux")); err != nil {
		out = append(out, Finding{
			ReasonKernel, Fatal, "the kernel does not describe its types (BTF)",
			filepath.Join(h.Sys, "kernel/btf/vmlinux"), "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
		})
	}
	err := features.HaveProgramType(ebpf.Netfilter)
	if errors.Is(err, ebpf.ErrNotSupported) && h.WithoutPackets {
		return out // who opens the datapath says so
	}
	if errors.Is(err, ebpf.ErrNotSupported) {
		out = append(out, Finding{
			ReasonKernel, Fatal, "the kernel has no netfilter BPF programs",
			"kernel " + release(), "use Linux 6.4 or later with CONFIG_NETFILTER_BPF_LINK=y",
		})
	} else if err != nil {
		out = append(out, Finding{
			ReasonKernel, Fatal, "the kernel does not let us load netfilter BPF programs: " + err.Error(),
			"kernel " + release(), "look for lockdown or a security module that forbids bpf()",
		})
	}
	return out
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// bpffs looks at the nearest existing ancestor of the pin directory.
func (h Host) bpffs() []Finding {
	dir := h.PinDir
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err == nil && uint64(st.Type) == unix.BPF_FS_MAGIC {
			return nil
		}
		return []Finding{{
			ReasonBPFFS, Fatal, "programs cannot be pinned: no BPF file system", h.PinDir,
			"mount -t bpf bpf /sys/fs/bpf (in a container: mount the host's)",
		}}
	}
}

// setting is one sysctl and the value that it must have.
type setting struct {
	name string // with slashes
	want string
	why  string
}

// bridgeSettings make a bridge show its traffic to netfilter. Frames with a
// priority tag or in PPPoE would go around the hook without the last two.
var bridgeSettings = []setting{
	{"net/bridge/bridge-nf-call-iptables", "1", "IPv4 between pods on a bridge goes around the hook"},
	{"net/bridge/bridge-nf-call-ip6tables", "1", "IPv6 between pods on a bridge goes around the hook"},
	{"net/bridge/bridge-nf-filter-vlan-tagged", "1", "VLAN-tagged frames between pods on a bridge go around the hook"},
	{"net/bridge/bridge-nf-filter-pppoe-tagged", "1", "PPPoE frames between pods on a bridge go around the hook"},
}

func (h Host) bridges() []Finding {
	if _, err := os.Stat(filepath.Join(h.Proc, "sys/net/bridge")); err != nil {
		names, _ := filepath.Glob(filepath.Join(h.Sys, "class/net/*/bridge"))
		if len(names) == 0 {
			return nil // no bridge to look at; seen again when there is one
		}
		return []Finding{{
			ReasonBypassed, Bypass, "bridged traffic does not pass netfilter",
			"bridge " + filepath.Base(filepath.Dir(names[0])), "load the kernel module: modprobe br_netfilter",
		}}
	}
	var out []Finding
	for _, s := range bridgeSettings {
		if err := h.set(s); err != nil {
			name := strings.ReplaceAll(s.name, "/", ".")
			mend := fmt.Sprintf("sysctl -w %s=%s", name, s.want)
			if errors.Is(err, errNotTried) {
				mend = setByItself + "; by hand: " + mend
			}
			out = append(out, Finding{ReasonSysctl, Bypass, fmt.Sprintf("%s: %v", s.why, err), name, mend})
		}
	}
	return out
}

// errNotTried says that a setting is off and nobody tried to set it: that was only
// to look.
var errNotTried = errors.New("not set yet")

// setByItself says what becomes of a finding that comes of looking only.
const setByItself = "nothing to do, Palisade sets it when it starts to enforce here"

func (h Host) set(s setting) error {
	path := filepath.Join(h.Proc, "sys", s.name)
	b, err := os.ReadFile(path)
	if err != nil {
		return errors.New("setting cannot be read: " + cause(err))
	}
	got := strings.TrimSpace(string(b))
	if got == s.want {
		return nil
	}
	if h.ReadOnly {
		return fmt.Errorf("it is %s, %w", got, errNotTried)
	}
	if err := os.WriteFile(path, []byte(s.want), 0o644); err != nil {
		return fmt.Errorf("it is %s and cannot be set: %s", got, cause(err))
	}
	// A bind mount over the file, or a kernel that ignores the write, is seen here.
	if b, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(b)) != s.want {
		return fmt.Errorf("it stays %s after it was set", got)
	}
	return nil
}

// cause leaves out the path that an fs error repeats.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
