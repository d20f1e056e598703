package datapath

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
)

var (
	// ErrPrivilege is wrapped where the process may not load programs.
	ErrPrivilege = errors.New("not permitted")
	// ErrKernel is wrapped where the kernel lacks what the datapath needs.
	ErrKernel = errors.New("kernel not supported")
	// ErrPinDir is wrapped where pins cannot be kept.
	ErrPinDir = errors.New("no place for pins")
)

// Probe says in one line what is missing to enforce on this machine, and how to
// mend it; nil if nothing is. It loads a program and leaves nothing behind.
func Probe() error {
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return fmt.Errorf("%w: %s has no type information in /sys/kernel/btf/vmlinux: use a kernel built with CONFIG_DEBUG_INFO_BTF=y", ErrKernel, release())
	}
	spec, err := bpf.Dispatch.Spec()
	if err != nil {
		return err
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return explain(err)
	}
	c.Close()
	return nil
}

// explain turns an error of loading into one line that says what to do.
func explain(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &verifier) && len(verifier.Log) > 0:
		return fmt.Errorf("%w: %s refuses a program: %s: report this with the kernel's version", ErrKernel, release(), verifier.Log[len(verifier.Log)-1])
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: loading BPF programs as user %d: run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN (%s)", ErrPrivilege, os.Geteuid(), rootCause(err))
	case errors.Is(err, unix.EINVAL) || errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w: %s has no netfilter BPF: use Linux 6.4 or later built with CONFIG_NETFILTER_BPF_LINK=y (%s)", ErrKernel, release(), rootCause(err))
	}
	return fmt.Errorf("BPF objects: %w", err)
}

// rootCause is the innermost message: the outer ones may run over several lines.
func rootCause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "this kernel"
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}
