package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"palisade.dev/palisade/hack/vm/guest"
)

// Machine describes one run of a virtual machine.
type Machine struct {
	Kernel  Kernel
	Files   map[string]string // path in the guest: file or folder here
	Tools   []string          // programs of this machine, taken with their libraries
	Modules []string          // besides those that every guest gets
	Disk    string            // an image that outlives the run, made if it is not there; /disk in the guest
	Env     []string
	Memory  int // MiB; 1024 unless set
	// One processor whose clock counts instructions, a nanosecond each, and jumps where the
	// guest sleeps: what takes how long does not depend on what else this machine does.
	CountInstructions bool
	Append            string        // for the kernel's command line
	Timeout           time.Duration // five minutes unless set
	Console           io.Writer     // gets what the guest prints
}

// ErrNoExit is wrapped where a guest ended without saying how its program ended.
var ErrNoExit = errors.New("the guest ended without an exit code")

const (
	defaultTimeout = 5 * time.Minute
	defaultMemory  = 1024
	diskSize       = 512 << 20
)

// Run boots the machine, runs a program of the guest's file system in it, and
// returns its exit code. Nothing of the machine is left when Run returns.
func (m Machine) Run(ctx context.Context, program string, args ...string) (int, error) {
	timeout := m.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no exit within %s", timeout))
	defer cancel()
	dir, err := os.MkdirTemp("", "palisade-vm-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	initrd, report := filepath.Join(dir, "initrd"), filepath.Join(dir, "report")
	if err := m.pack(ctx, dir, initrd, guest.Command{Args: append([]string{program}, args...), Env: m.Env}); err != nil {
		return 0, err
	}
	if err := m.makeDisk(ctx); err != nil {
		return 0, err
	}
	tail, err := m.boot(ctx, initrd, report)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return 0, fmt.Errorf("kernel %s: %s: %w%s", m.Kernel.Release, program, err, tail)
	}
	data, err := os.ReadFile(report)
	if err != nil {
		return 0, err
	}
	code, ok := guest.ParseExit(string(data))
	if !ok {
		return 0, fmt.Errorf("kernel %s: %s: %w%s", m.Kernel.Release, program, ErrNoExit, tail)
	}
	return code, nil
}

// pack writes the guest's first root file system.
func (m Machine) pack(ctx context.Context, dir, initrd string, command guest.Command) error {
	first := filepath.Join(dir, "init")
	if err := Build(ctx, first, "palisade.dev/palisade/hack/vm/init"); err != nil {
		return err
	}
	modules, err := m.Kernel.modules(append(append([]string{}, defaultModules...), m.Modules...))
	if err != nil {
		return err
	}
	f, err := os.Create(initrd)
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	a := newArchive(out)
	for _, d := range []string{"/bin", "/dev", "/proc", "/sys", "/tmp", "/run", "/etc", "/root", "/disk"} {
		a.dir(d)
	}
	if err := a.copy(first, "/init"); err != nil {
		return err
	}
	for _, file := range modules {
		inside := filepath.Join(guest.ModuleDir, filepath.Base(file))
		command.Modules = append(command.Modules, inside)
		if err := a.copy(file, inside); err != nil {
			return err
		}
	}
	if err := a.all(m.Files); err != nil {
		return err
	}
	for _, t := range m.Tools {
		if err := a.tool(t); err != nil {
			return fmt.Errorf("tool %s: %w", t, err)
		}
	}
	text, err := json.Marshal(command)
	if err != nil {
		return err
	}
	a.file(guest.CommandFile, 0o600, text)
	return errors.Join(a.close(), out.Flush())
}

// makeDisk makes the image of a disk where none is.
func (m Machine) makeDisk(ctx context.Context) error {
	if m.Disk == "" {
		return nil
	}
	if _, err := os.Stat(m.Disk); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(m.Disk, nil, 0o600); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if err := os.Truncate(m.Disk, diskSize); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", m.Disk).CombinedOutput(); err != nil {
		return fmt.Errorf("disk %s: mkfs.ext4: %w: %s", m.Disk, err, bytes.TrimSpace(out))
	}
	return nil
}

func (m Machine) memory() int {
	if m.Memory == 0 {
		return defaultMemory
	}
	return m.Memory
}

// boot runs QEMU until the guest switches itself off. The first serial line is the
// console; the second carries the exit code, where nothing else can write between.
// One thread runs both processors in turn: with a thread for each, guests that
// rewrite their own code while the other processor runs it crash now and then
// ("Oops: int3").
func (m Machine) boot(ctx context.Context, initrd, report string) (string, error) {
	processors := []string{"-smp", "2"}
	if m.CountInstructions {
		processors = []string{"-smp", "1", "-icount", "shift=0,sleep=off"}
	}
	args := append(processors,
		"-accel", "tcg,thread=single", "-cpu", "max", "-m", strconv.Itoa(m.memory()),
		"-display", "none", "-vga", "none", "-monitor", "none", "-nic", "none", "-no-reboot",
		"-serial", "stdio", "-serial", "file:"+report,
		"-kernel", m.Kernel.Image, "-initrd", initrd,
		"-append", strings.TrimSpace("console=ttyS0 quiet panic=-1 mitigations=off no_timer_check tsc=nowatchdog "+m.Append),
	)
	if m.Disk != "" {
		args = append(args, "-drive", "file="+m.Disk+",if=virtio,format=raw,cache=writethrough")
	}
	// QEMU dies with the thread that started it, so that nothing outlives this process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	console := &console{to: m.Console}
	cmd.Stdout, cmd.Stderr = console, console
	err := cmd.Run()
	console.flush()
	return console.tail(), err
}
