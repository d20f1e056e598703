package main

import (
	"bufio"
	"bytes"
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
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() {
	add(map[string]func(string) error{
		"ptrace":           func(dir string) error { return onVictim(dir, ptrace) },
		"process-read":     func(dir string) error { return onVictim(dir, processRead) },
		"process-write":    func(dir string) error { return onVictim(dir, processWrite) },
		"process-memory":   func(dir string) error { return onVictim(dir, processMemory) },
		"process-file":     processFile,
		"take-over":        takeOver,
		"from":             func(dir string) error { return read(dir + "/secret") },
		"from-descendant":  fromDescendant,
		"from-script":      fromScript,
		"read-beside":      func(script string) error { return read(filepath.Dir(script) + "/secret") },
		"fork-double-exec": doubleFork,
	})
}

// roles are what a second process of an attack does.
var roles = map[string]func(dir string){
	"wait":    func(string) { _, _ = os.Stdin.Read(make([]byte, 1)) },
	"victim":  victim,
	"mounter": mounter,
	"layered": layered,
	"orphan":  orphan,
	"reader":  func(dir string) { fmt.Println(outcome(read(dir + "/secret"))) },
}

func play(role, dir string) {
	f, ok := roles[role]
	if !ok {
		usage()
	}
	f(dir)
}

// other is a process that plays a role.
type other struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

func start(role, dir string, flags uintptr) (*other, error) {
	cmd := exec.Command(self(), "role", role, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if flags&unix.CLONE_NEWUSER != 0 { // who is nobody there loses every capability by executing
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{Size: 1}}
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &other{cmd: cmd, in: in, lines: bufio.NewScanner(out)}, nil
}

func (o *other) pid() string { return strconv.Itoa(o.cmd.Process.Pid) }

func (o *other) line() string {
	if !o.lines.Scan() {
		return ""
	}
	return o.lines.Text()
}

func (o *other) end() {
	_ = o.in.Close()
	_ = o.cmd.Process.Kill() // it may have ended by itself
	_ = o.cmd.Wait()
}

// played runs a role to its end: an attack by that process.
func played(role, dir string, flags uintptr) error {
	o, err := start(role, dir, flags)
	if err != nil {
		return err
	}
	defer o.end()
	return parseOutcome(o.line())
}

func parseOutcome(line string) error {
	if line == "attack=succeeded" {
		return nil
	}
	name, ok := strings.CutPrefix(line, "attack=failed errno=")
	if ok && name != "none" {
		for e := unix.Errno(1); e < 200; e++ {
			if unix.ErrnoName(e) == name {
				return e
			}
		}
	}
	return fmt.Errorf("%w: the other process printed %q", errNoEffect, line)
}

// victim keeps the secret in its memory and says where.
func victim(dir string) {
	memory := bytes.Clone([]byte("secret of the victim")) // in memory that can be written
	fd, err := unix.Open(dir+"/public", unix.O_RDONLY, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%x %d\n", uintptr(unsafe.Pointer(&memory[0])), fd)
	_, _ = os.Stdin.Read(make([]byte, 1))
	fmt.Println(string(memory))
}

func onVictim(dir string, f func(v *other, pid int, address uint64) error) error {
	v, err := start("victim", dir, 0)
	if err != nil {
		return err
	}
	defer v.end()
	var address uint64
	var fd int
	line := v.line()
	if _, err := fmt.Sscanf(line, "%x %d", &address, &fd); err != nil {
		return fmt.Errorf("victim: %q: %w", line, err)
	}
	return f(v, v.cmd.Process.Pid, address)
}

func ptrace(_ *other, pid int, address uint64) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceAttach(pid); err != nil {
		return err
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		return err
	}
	buf := make([]byte, len(secret))
	_, err := unix.PtracePeekData(pid, uintptr(address), buf)
	return holds(buf, errors.Join(err, unix.PtraceDetach(pid)))
}

func vectors(buf []byte, address uint64) ([]unix.Iovec, []unix.RemoteIovec) {
	local := []unix.Iovec{{Base: &buf[0]}}
	local[0].SetLen(len(buf))
	return local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(buf)}}
}

func processRead(_ *other, pid int, address uint64) error {
	buf := make([]byte, len(secret))
	local, remote := vectors(buf, address)
	_, err := unix.ProcessVMReadv(pid, local, remote, 0)
	return holds(buf, err)
}

func processWrite(v *other, pid int, address uint64) error {
	local, remote := vectors([]byte("forged"), address)
	if _, err := unix.ProcessVMWritev(pid, local, remote, 0); err != nil {
		return err
	}
	return forged(v)
}

func forged(v *other) error {
	_ = v.in.Close()
	if line := v.line(); !strings.HasPrefix(line, "forged") {
		return fmt.Errorf("%w: the victim has %q", errNoEffect, line)
	}
	return nil
}

func processMemory(v *other, pid int, address uint64) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("forged"), int64(address)); err != nil {
		return err
	}
	return forged(v)
}

// processFile takes a descriptor out of another process.
func processFile(dir string) error {
	v, err := start("victim", dir, 0)
	if err != nil {
		return err
	}
	defer v.end()
	var address uint64
	var fd int
	if _, err := fmt.Sscanf(v.line(), "%x %d", &address, &fd); err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(v.cmd.Process.Pid, 0)
	if err != nil {
		return err
	}
	got, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return err
	}
	buf := make([]byte, 64)
	n, err := unix.Read(got, buf)
	return expect(buf[:max(n, 0)], err)
}

// fromDescendant reads in a child of a child, whose parent is gone.
func fromDescendant(dir string) error { return played("orphan", dir, 0) }

// fromScript reads in a script, whose interpreter is this program.
func fromScript(dir string) error {
	out, err := exec.Command(dir + "/reader").Output()
	if err != nil {
		return err
	}
	return parseOutcome(strings.TrimSpace(string(out)))
}

// orphan leaves its work to a process that nobody waits for.
func orphan(dir string) {
	cmd := exec.Command(self(), "role", "reader", dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Println(outcome(err))
	}
}

// doubleFork executes in a process whose parent is gone.
func doubleFork(dir string) error {
	cmd := exec.Command("/bin/busybox", "setsid", "/bin/busybox", "sh", "-c", "("+dir+"/denied; echo errno=1) & wait")
	return effect(cmd)
}

// takeOver lays hold of the process that a container runtime prepares here.
func takeOver(string) error {
	ready()
	all, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil || !bytes.HasPrefix(line, []byte("sleep\x00")) {
			continue
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := unix.PtraceAttach(pid); err != nil {
			return err
		}
		_, err = unix.Wait4(pid, nil, unix.WALL, nil)
		return errors.Join(err, unix.PtraceDetach(pid))
	}
	return fmt.Errorf("%w: no process is being prepared", errNoEffect)
}
