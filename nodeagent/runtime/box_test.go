package runtime

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
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
	"testing"

	"golang.org/x/sys/unix"
)

// A box is a container as a container runtime makes one: a cgroup of a pod, a mount
// namespace with an overlay as its root, and a process that the host puts there and that
// executes a program of the image at last.
type box struct {
	uid, id string
	cgroup  string // of the container
	sandbox string // its cgroup
	root    string
}

const (
	roleVariable = "PALISADE_ROLE"
	rootVariable = "PALISADE_ROOT"
	selfVariable = "PALISADE_SELF" // the cgroup into which the process goes by itself
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "init":
		fmt.Fprintln(os.Stderr, boxInit(os.Args[1:]))
		os.Exit(125)
	case "app":
		os.Exit(app(os.Args))
	}
	os.Exit(126)
}

func random(t *testing.T, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

func randomUID(t *testing.T) string {
	h := random(t, 16)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hierarchyRoot is where the hierarchy that counts here is mounted.
func hierarchyRoot(t *testing.T) string {
	t.Helper()
	h, err := findHierarchy("/proc")
	must(t, err)
	for _, dir := range []string{"/sys/fs/cgroup/" + h.name, "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir
		}
	}
	t.Fatalf("hierarchy %s is not mounted", h.name)
	return ""
}

// pod makes the cgroup of a pod.
func pod(t *testing.T, name string) string {
	t.Helper()
	parent := filepath.Join(hierarchyRoot(t), "pal-"+random(t, 4))
	must(t, os.Mkdir(parent, 0o755))
	t.Cleanup(func() { must(t, os.Remove(parent)) })
	dir := filepath.Join(parent, name)
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { must(t, os.Remove(dir)) })
	return dir
}

// container makes the cgroup of a container in that of a pod.
func container(t *testing.T, pod, id string) string {
	t.Helper()
	dir := filepath.Join(pod, id)
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { must(t, os.Remove(dir)) })
	return dir
}

// newBox makes a pod with a sandbox and one container, whose image has /bin/app and
// /bin/denied, which are this program.
func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{uid: randomUID(t), id: random(t, 32)}
	dir := pod(t, "pod"+b.uid)
	b.sandbox = container(t, dir, random(t, 32))
	b.cgroup = container(t, dir, b.id)
	b.root = image(t)
	return b
}

// image makes an overlay, and returns where it is mounted.
func image(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	must(t, unix.Mount("tmpfs", base, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(base, unix.MNT_DETACH)) })
	lower, upper, work, root := filepath.Join(base, "lower"), filepath.Join(base, "upper"), filepath.Join(base, "work"), filepath.Join(base, "root")
	for _, d := range []string{lower + "/bin", lower + "/etc", lower + "/tmp", lower + "/proc", upper, work, root} {
		must(t, os.MkdirAll(d, 0o755))
	}
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(lower+"/bin/app", self, 0o755))
	must(t, os.Link(lower+"/bin/app", lower+"/bin/denied"))
	must(t, os.WriteFile(lower+"/etc/secret", []byte("s3cret"), 0o644))
	must(t, os.WriteFile(lower+"/bin/script", []byte("#!/bin/denied\n"), 0o755))
	must(t, unix.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work)))
	t.Cleanup(func() { must(t, unix.Unmount(root, unix.MNT_DETACH)) })
	return root
}

// command prepares a program of the image as the first process of the container. start
// starts it.
func (b *box) command(t *testing.T, args ...string) (cmd *exec.Cmd, start func()) {
	t.Helper()
	gate, opener, err := os.Pipe()
	must(t, err)
	cmd = exec.Command("/proc/self/exe", args...)
	cmd.Env = []string{roleVariable + "=init", rootVariable + "=" + b.root}
	cmd.ExtraFiles = []*os.File{gate}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd, func() {
		t.Helper()
		must(t, cmd.Start())
		must(t, gate.Close())
		must(t, os.WriteFile(filepath.Join(b.cgroup, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0))
		must(t, opener.Close())
	}
}

// runBySelf runs a program of the image to its end in a process that has namespaces of its
// own before it goes into the container's cgroup by itself.
func (b *box) runBySelf(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = []string{roleVariable + "=init", rootVariable + "=" + b.root, selfVariable + "=" + b.cgroup}
	empty, err := os.Open(os.DevNull)
	must(t, err)
	defer empty.Close()
	cmd.ExtraFiles = []*os.File{empty}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// run runs a program of the image to its end.
func (b *box) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd, start := b.command(t, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start()
	err := cmd.Wait()
	return strings.TrimSpace(out.String()), err
}

// boxInit is what a container runtime's own process does before it becomes the program.
func boxInit(args []string) error {
	runtime.LockOSThread()
	gate := os.NewFile(3, "gate")
	if _, err := io.Copy(io.Discard, gate); err != nil {
		return err
	}
	if err := gate.Close(); err != nil {
		return err
	}
	if cgroup := os.Getenv(selfVariable); cgroup != "" {
		if err := os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	root := os.Getenv(rootVariable)
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("proc", root+"/proc", "proc", 0, ""),
		unix.Chdir(root),
	); err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err == nil {
		err = unix.Unmount(".", unix.MNT_DETACH)
		if err != nil {
			return fmt.Errorf("old root: %w", err)
		}
	} else if err := errors.Join(unix.Mount(root, "/", "", unix.MS_MOVE, ""), unix.Chroot(".")); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	err := syscall.Exec(args[0], args, []string{roleVariable + "=app"})
	return fmt.Errorf("exec: %s", errnoName(err))
}

func errnoName(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		return unix.ErrnoName(e)
	}
	return fmt.Sprint(err)
}

// app is the program of the image: it does what its arguments say and prints how that
// ended: the name of the error, or "done".
func app(args []string) int {
	if len(args) < 2 {
		fmt.Println("done")
		return 0
	}
	err := operation(args[1], args[2:])
	if err != nil {
		fmt.Println(errnoName(err))
		return 1
	}
	fmt.Println("done")
	return 0
}

func operation(name string, args []string) error {
	switch name {
	case "exec":
		return syscall.Exec(args[0], args, []string{roleVariable + "=app"})
	case "spawn":
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = []string{roleVariable + "=app"}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
		return cmd.Run()
	case "spawns":
		times, err := strconv.Atoi(args[0])
		for i := 0; i < times && err == nil; i++ {
			err = operation("spawn", args[1:])
		}
		return err
	case "read":
		_, err := os.ReadFile(args[0])
		return err
	case "connect", "connect-udp", "send", "bind", "listen":
		return network(name, args[0])
	case "socket":
		return socket(args[0], args[1])
	}
	return fmt.Errorf("no operation %q", name)
}
