//go:build guest

package inside

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// The user that the program denies everything, and one that it does not know.
const (
	deniedUser  = 4242
	anotherUser = 4243
)

// denyUser refuses every exec of deniedUser.
func denyUser() *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{
		Name: "deny_user", Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: "bprm_check_security", License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.FnGetCurrentUidGid.Call(),
			asm.Mov.Reg32(asm.R1, asm.R0), // the lower half: the user
			asm.Mov.Imm(asm.R0, 0),
			asm.JNE.Imm(asm.R1, deniedUser, "out"),
			asm.Mov.Imm(asm.R0, -int32(unix.EPERM)),
			asm.Return().WithSymbol("out"),
		},
	}
}

// TestLSMStopsAnExec: the security modules of a stock kernel include BPF, and a
// program there stops an exec before it happens.
func TestLSMStopsAnExec(t *testing.T) {
	modules, err := os.ReadFile("/sys/kernel/security/lsm")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Split(strings.TrimSpace(string(modules)), ","), "bpf") {
		t.Fatalf("security modules are %s: no bpf", modules)
	}
	if err := execAs(deniedUser); err != nil {
		t.Fatalf("control: exec as user %d without a program: %v", deniedUser, err)
	}
	p, err := ebpf.NewProgram(denyUser())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l, err := link.AttachLSM(link.LSMOptions{Program: p})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = execAs(deniedUser)
	if !errors.Is(err, unix.EPERM) {
		t.Errorf("exec as user %d with the program: %v, want EPERM", deniedUser, err)
	}
	if err := execAs(anotherUser); err != nil {
		t.Errorf("exec as user %d with the program: %v", anotherUser, err)
	}
	t.Logf("modules=%s control=succeeded policy=stopped errno=%v", strings.TrimSpace(string(modules)), errno(err))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := execAs(deniedUser); err != nil {
		t.Errorf("exec as user %d after the program left: %v", deniedUser, err)
	}
}

func errno(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		return unix.ErrnoName(e)
	}
	return "none"
}

// execAs runs a program that does nothing, as a user.
func execAs(user uint32) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=nothing")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	return cmd.Run()
}

func init() { roles["nothing"] = func() error { return nil } }
