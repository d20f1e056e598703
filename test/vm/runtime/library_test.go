//go:build guest

package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/container"
)

// TestLibrary: each policy that is shipped, without it and with it, and what the
// workload does besides.
func TestLibrary(t *testing.T) {
	l := newLibrary(t)
	controls := map[string]string{}
	c := l.pod(control, Shipped{Policy: control})
	if failed := l.try(c, Shipped{}, Shipped{}.Service()); len(failed) > 0 {
		t.Errorf("without a policy the service fails: %s", failed)
	}
	for _, s := range Library {
		if failed := l.try(c, s, s.Work); len(failed) > 0 {
			t.Errorf("%s: without a policy its work fails: %s", s.Policy, failed)
		}
		controls[s.Policy] = l.control(c, s)
	}
	t.Log("controls:", controls)
	a := newAgent(t, t.TempDir())
	manifests, err := LibraryManifests()
	must(t, err)
	a.enforce(manifests)
	t.Log("enforced")
	for _, s := range Library {
		// Its first program starts under the policy.
		p := l.pod(s.Policy, s)
		policy := l.policy(p, s)
		work := "untouched"
		if stopped := l.try(p, s, append(s.Service(), s.Work...)); len(stopped) > 0 {
			work = "stopped(" + strings.Join(stopped, ",") + ")"
			t.Errorf("%s stops normal work: %s", s.Policy, stopped)
		}
		if stopped := l.try(p, s, s.Passes); len(stopped) > 0 {
			t.Errorf("%s stops what its page says that it does not: %s", s.Policy, stopped)
		}
		t.Logf("%s: a record: %s", s.Policy, a.denied(s.Policy))
		fmt.Printf("library %s control=%s policy=%s work=%s\n", s.Policy, controls[s.Policy], policy, work)
		if controls[s.Policy] != "succeeded" || !strings.HasPrefix(policy, "stopped") {
			t.Errorf("%s: control %s, policy %s", s.Policy, controls[s.Policy], policy)
		}
		must(t, p.Close())
		delete(l.pods, s.Policy)
	}
}

// denied waits for the record of something that a policy refused.
func (a *agent) denied(policy string) (record string) {
	a.t.Helper()
	poll.Until(a.t, "a record of "+policy, func() error {
		data, err := os.ReadFile(a.records())
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			var e events.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return err
			}
			if strings.HasSuffix(e.Policy, "/"+policy) && (e.Verdict == flows.Deny || e.Verdict == events.Kill) {
				record = strings.TrimSpace(line)
				return nil
			}
		}
		return fmt.Errorf("none among %d bytes", len(data))
	})
	return record
}

// libraryStage has an image with all that the policies are about.
type libraryStage struct{ *stage }

func newLibrary(t *testing.T) libraryStage {
	t.Helper()
	trees := []container.Tree{{At: "/usr/local/bin"}}
	trees = append(trees, treesOf(Library, "/usr", "/bin", "/etc", opt, "/var")...)
	node, err := container.NewNode(t.TempDir(), map[string]string{
		container.AttackProgram: Attack, "/bin/busybox": Busybox, "/sh": Busybox, Loader: Loader, LibC: LibC,
		Echo: Echo, Dash: Dash, "/usr/local/bin/client": Attack, "/usr/local/bin/postgres": Attack, "/usr/bin/tetragon": Attack,
	}, trees)
	must(t, err)
	image := func(name, text string, link bool) {
		t.Helper()
		name = filepath.Join(node.Image(), name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		if link {
			must(t, os.Symlink(text, name))
			return
		}
		must(t, os.WriteFile(name, []byte(text), 0o755))
	}
	image("/bin/sh", "/usr/bin/dash", true)
	image("/sbin/ash", "/bin/busybox", true)
	image("/etc/service.conf", "port = 1", false)
	for _, name := range []string{"/usr/bin/apt-get", "/sbin/apk", "/usr/bin/sudo", "/usr/bin/xmrig", "/usr/local/bin/other"} {
		image(name, string(container.Printing("ran")), false)
	}
	image("/usr/local/bin/pip3", "#!/usr/local/bin/other\n", false)
	image("/usr/local/bin/entrypoint", "#!/bin/sh\nset -e\necho ran\n", false)
	s := &stage{t: t, node: node, pods: map[string]*podOnStage{}}
	t.Cleanup(func() {
		for _, p := range s.pods {
			must(t, p.Close())
		}
		must(t, node.Close())
	})
	return libraryStage{s}
}

// treesOf are the directories of policies' steps below some others.
func treesOf(all []Shipped, roots ...string) []container.Tree {
	var out []container.Tree
	for _, s := range all {
		for _, step := range steps(s.Attacks, s.Work, s.Passes) {
			below := func(root string) bool { return strings.HasPrefix(step.On, root+"/") }
			same := func(other container.Tree) bool { return other.At == step.On }
			if step.Tree && slices.ContainsFunc(roots, below) && !slices.ContainsFunc(out, same) {
				out = append(out, container.Tree{At: step.On, Files: files[step.Do]})
			}
		}
	}
	return out
}

// pod starts the pod of a policy, or one for everything without any.
func (l libraryStage) pod(name string, s Shipped) *podOnStage {
	l.t.Helper()
	all := []Shipped{s}
	if name == control {
		all = Library
	}
	spec := container.PodSpec{Namespace: s.Namespace(), Name: "app", UID: UID(name), Trees: treesOf(all, "/data")}
	pod, err := l.node.Start(spec)
	must(l.t, err)
	p := &podOnStage{Pod: pod}
	l.pods[name] = p
	leak, err := os.Open(l.leaked())
	must(l.t, err)
	defer leak.Close()
	p.attacker, err = pod.Attacker(container.Spec{Name: "app", Leak: leak})
	if err != nil {
		l.t.Fatalf("%s: the entrypoint: %v", name, err)
	}
	for _, tree := range treesOf(all, "/run") {
		must(l.t, tree.Write(filepath.Join("/proc", p.attacker.PID(), "root")))
	}
	must(l.t, within(p.attacker.PID(), func() error { return neighbourhood(l.t) }))
	return p
}

// neighbourhood gives a pod the addresses that attacks connect to, and somebody who
// serves at one of them.
func neighbourhood(t *testing.T) error {
	for _, address := range []string{private, internet, knownPool} {
		if out, err := exec.Command(Busybox, "ip", "addr", "add", address+"/32", "dev", "lo").CombinedOutput(); err != nil {
			return fmt.Errorf("address %s: %w: %s", address, err, out)
		}
	}
	l, err := net.Listen("tcp", reachable)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return nil
}

// within does something in the network of a process.
func within(pid string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in the pod's network
		ns, err := unix.Open(filepath.Join("/proc", pid, "ns/net"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = errors.Join(unix.Setns(ns, unix.CLONE_NEWNET), unix.Close(ns))
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// step does one step in a pod.
func (l libraryStage) step(p *podOnStage, s Step) (container.Outcome, error) {
	x, err := p.attacker.Begin(s.Do, s.On)
	if err != nil {
		return container.Outcome{}, err
	}
	if s.Do == "overwrite-runtime" {
		return l.visited(p, x)
	}
	if s.Do == "answer" {
		if _, err := x.Wait("ready"); err != nil {
			return container.Outcome{}, err
		}
		if err := within(p.attacker.PID(), func() error { return client(s.On) }); err != nil {
			return container.Outcome{}, err
		}
	}
	return x.Result()
}

// client asks from outside of the container, from an address that is not the
// container's loopback.
func client(address string) error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(private)}}
	c, err := d.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	answer := make([]byte, len("public"))
	if n, err := c.Read(answer); err != nil || string(answer[:n]) != "public" {
		return fmt.Errorf("the server answers %q: %v", answer[:n], err)
	}
	return nil
}

// try does steps and returns those that do not succeed.
func (l libraryStage) try(p *podOnStage, s Shipped, some []Step) []string {
	l.t.Helper()
	var failed []string
	for _, step := range some {
		o, err := l.step(p, step)
		if err == nil && o.Succeeded {
			continue
		}
		failed = append(failed, step.String())
		l.t.Logf("%s: %s: errno=%s %v: %s", s.Policy, step, o.Errno, err, o.Said)
	}
	return failed
}

// control runs a policy's attacks where there is none.
func (l libraryStage) control(p *podOnStage, s Shipped) string {
	l.t.Helper()
	failed := l.try(p, s, append(slices.Clone(s.Attacks), s.Passes...))
	if len(s.Enter) > 0 {
		if out, code, err := p.attacker.Exec(s.Enter...); err != nil || code != 0 || out != "ran\n" {
			failed = append(failed, fmt.Sprintf("enter:%d:%v:%s", code, err, out))
		}
	}
	if len(failed) > 0 {
		return "failed(" + strings.Join(failed, ",") + ")"
	}
	return "succeeded"
}

// policy runs a policy's attacks under it, and says how they ended.
func (l libraryStage) policy(p *podOnStage, s Shipped) string {
	l.t.Helper()
	errnos := map[string]bool{}
	var through []string
	for _, step := range s.Attacks {
		o, err := l.step(p, step)
		if err != nil || o.Succeeded || (!refused(o) && o.Errno != "SIGKILL") {
			through = append(through, step.String())
			l.t.Logf("%s: %s: errno=%s %v: %s", s.Policy, step, o.Errno, err, o.Said)
			continue
		}
		errnos[o.Errno] = true
	}
	if len(s.Enter) > 0 {
		if out, code, err := p.attacker.Exec(s.Enter...); err != nil || code == 0 || strings.Contains(out, "ran") {
			through = append(through, fmt.Sprintf("enter:%d:%v:%s", code, err, out))
		}
	}
	if len(through) > 0 {
		return "not-stopped(" + strings.Join(through, ",") + ")"
	}
	return "stopped errno=" + strings.Join(slices.Sorted(maps.Keys(errnos)), ",")
}
