// Command init is the first process of a virtual machine: it mounts what a node
// has, loads modules, runs one program, reports its exit code and switches off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/hack/vm/guest"
)

// notPrepared is the exit code of a guest whose program was not started.
const notPrepared = 125

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "palisade-vm:", err)
	}
	fmt.Print(guest.ExitLine(code))
	if err := report(code); err != nil {
		fmt.Fprintln(os.Stderr, "palisade-vm:", err)
	}
	// A disk that is not mounted was not asked for.
	_ = unix.Unmount(disk, 0)
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "palisade-vm: power off:", err)
	}
}

func run() (int, error) {
	if err := errors.Join(ownRoot(), prepare()); err != nil {
		return notPrepared, err
	}
	data, err := os.ReadFile(guest.CommandFile)
	if err != nil {
		return notPrepared, err
	}
	var c guest.Command
	if err := json.Unmarshal(data, &c); err != nil {
		return notPrepared, fmt.Errorf("%s: %w", guest.CommandFile, err)
	}
	for _, m := range c.Modules {
		if err := load(m); err != nil {
			return notPrepared, err
		}
	}
	if err := errors.Join(mountDisk(), loopback(), applets()); err != nil {
		return notPrepared, err
	}
	return start(c)
}

// start runs the program and buries every process that is left to this one.
func start(c guest.Command) (int, error) {
	env := append([]string{
		"PATH=/bin:/sbin:/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin", "HOME=/root", "TERM=dumb", "PALISADE_VM=1",
	}, c.Env...)
	path := c.Args[0]
	if found, err := exec.LookPath(path); err == nil {
		path = found
	}
	p, err := os.StartProcess(path, c.Args, &os.ProcAttr{Env: env, Dir: "/", Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return notPrepared, err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) || err == nil && pid != p.Pid {
			continue
		}
		if err != nil {
			return notPrepared, fmt.Errorf("wait for %s: %w", path, err)
		}
		if status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
}

func report(code int) error {
	f, err := os.OpenFile(guest.ReportDevice, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(guest.ExitLine(code)); err != nil {
		return err
	}
	// Wait until the line has carried it, or switching off would cut it.
	return unix.IoctlSetInt(int(f.Fd()), unix.TCSBRK, 1)
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("module %s: %w", filepath.Base(path), err)
	}
	return nil
}

func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("interface lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}
