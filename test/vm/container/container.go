package container

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Container is one that was made.
type Container struct {
	ID     string
	Name   string
	pod    *Pod
	bundle string
	image  string
	leak   *os.File
	pid    string
	ended  bool
}

// prepare makes the bundle and the root file system.
func (p *Pod) prepare(s Spec, sandbox bool) (*Container, error) {
	c := &Container{ID: p.node.id(), Name: s.Name, pod: p, image: "image", leak: s.Leak}
	if sandbox {
		c.image = "pause"
	}
	c.bundle = filepath.Join(bundles, c.ID)
	upper, work := filepath.Join(p.node.dir, "fs", c.ID, "upper"), filepath.Join(p.node.dir, "fs", c.ID, "work")
	root := filepath.Join(c.bundle, "rootfs")
	for _, dir := range []string{upper, work, root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", filepath.Join(p.node.dir, c.image), upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, layers); err != nil {
		return nil, fmt.Errorf("mount %s: %w", root, err)
	}
	p.containers = append(p.containers, c)
	config, err := c.config(s, sandbox)
	if err != nil {
		return nil, err
	}
	return c, os.WriteFile(filepath.Join(c.bundle, "config.json"), config, 0o600)
}

func (c *Container) run(flags ...string) *exec.Cmd {
	args := append([]string{"run", "--bundle", c.bundle}, flags...)
	if c.leak != nil {
		args = append(args, "--preserve-fds=1")
	}
	cmd := command(append(args, c.ID)...)
	if c.leak != nil {
		cmd.ExtraFiles = []*os.File{c.leak}
	}
	return cmd
}

// detach starts the container and leaves it running. Files become its standard
// input and outputs.
func (c *Container) detach(in, out, errs *os.File) error {
	pidFile := filepath.Join(c.bundle, "init.pid")
	cmd := c.run("--detach", "--pid-file", pidFile)
	// A nil file would be the empty interface's nil no more.
	if in != nil {
		cmd.Stdin = in
	}
	if out != nil {
		cmd.Stdout = out
	}
	said, err := os.CreateTemp("", "runc")
	if err != nil {
		return err
	}
	defer os.Remove(said.Name())
	defer said.Close()
	cmd.Stderr = said
	if errs != nil {
		cmd.Stderr = errs
	}
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(said.Name()) // empty tells as much
		return fmt.Errorf("container %s: runc: %w: %s", c.Name, err, bytes.TrimSpace(text))
	}
	pid, err := os.ReadFile(pidFile)
	c.pid = string(pid)
	return err
}

// said is the file with what the runtime and the first process of a sandbox say.
func (c *Container) said() string { return filepath.Join(c.bundle, "said") }

// PID is the number of the container's first process, on the node.
func (c *Container) PID() string { return c.pid }

// Cgroup is the directory of the container's cgroup.
func (c *Container) Cgroup() string { return filepath.Join(cgroups, c.cgroupsPath()) }

// Run runs a container to its end: what it printed and its exit code. What runc
// says of a process that was not started is in the output.
func (p *Pod) Run(s Spec) (output string, code int, err error) {
	c, err := p.prepare(s, false)
	if err != nil {
		return "", 0, err
	}
	output, code, err = finish(c.run())
	c.ended = true
	return output, code, err
}

// Root prepares a container without a runtime: its cgroup and root file system are
// there, as a runtime makes them, for whoever starts a process there quicker.
func (p *Pod) Root(name string) (cgroup, root string, err error) {
	c, err := p.prepare(Spec{Name: name}, false)
	if err != nil {
		return "", "", err
	}
	c.ended = true
	return c.Cgroup(), filepath.Join(c.bundle, "rootfs"), os.Mkdir(c.Cgroup(), 0o755)
}

// Exec runs a program in the container, as kubectl exec does.
func (c *Container) Exec(args ...string) (output string, code int, err error) {
	return finish(command(append([]string{"exec", c.ID}, args...)...))
}

func finish(cmd *exec.Cmd) (string, int, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return out.String(), 0, err
	}
	return out.String(), cmd.ProcessState.ExitCode(), nil
}

// remove kills the container and forgets it.
func (c *Container) remove() error {
	if !c.ended {
		if out, err := command("delete", "--force", c.ID).CombinedOutput(); err != nil && !strings.Contains(string(out), "does not exist") {
			return fmt.Errorf("container %s: runc delete: %w: %s", c.Name, err, bytes.TrimSpace(out))
		}
	}
	err := unix.Unmount(filepath.Join(c.bundle, "rootfs"), unix.MNT_DETACH)
	return errors.Join(err, os.RemoveAll(c.bundle), os.RemoveAll(filepath.Join(c.pod.node.dir, "fs", c.ID)))
}

var _ io.Closer = (*Pod)(nil)
