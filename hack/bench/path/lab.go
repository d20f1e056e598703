package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/nodeagent/layout"
)

// lab is a node with a bridge and two pods, each a network namespace.
type lab struct {
	prefix  string
	made    []string
	dir     string
	mounted bool
	ports   map[string]uint32
}

var podAddresses = map[string]string{"a": "10.1.0.11", "b": "10.1.0.12"}

func joined(errs ...error) error { return errors.Join(errs...) }

func newLab() (*lab, error) {
	var id [3]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "palisade-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{prefix: "pal-" + hex.EncodeToString(id[:]), dir: dir, ports: map[string]uint32{}}
	for _, name := range []string{"node", "a", "b"} {
		if err := command("ip", "netns", "add", l.ns(name)); err != nil {
			return l, err
		}
		l.made = append(l.made, name)
	}
	node := l.ns("node")
	steps := []string{
		"ip -n " + node + " link add cni0 type bridge",
		"ip -n " + node + " link set cni0 up",
		"ip -n " + node + " addr add 10.1.0.1/24 dev cni0",
	}
	for name, addr := range podAddresses {
		steps = append(steps,
			"ip link add v-"+name+" netns "+node+" type veth peer name eth0 netns "+l.ns(name),
			"ip -n "+node+" link set v-"+name+" master cni0 up",
			"ip -n "+l.ns(name)+" link set eth0 up",
			"ip -n "+l.ns(name)+" addr add "+addr+"/24 dev eth0",
		)
	}
	steps = append(steps,
		"ip netns exec "+node+" nft add table inet bench; add chain inet bench track { type filter hook prerouting priority 0; }; add rule inet bench track ct state new",
		"ip netns exec "+node+" sysctl -qw net.bridge.bridge-nf-call-iptables=1",
	)
	for _, s := range steps {
		if err := command(strings.Fields(s)...); err != nil {
			return l, err
		}
	}
	return l, l.inNode(func() error {
		for name := range podAddresses {
			i, err := net.InterfaceByName("v-" + name)
			if err != nil {
				return err
			}
			l.ports[name] = uint32(i.Index)
		}
		return nil
	})
}

func (l *lab) ns(name string) string { return l.prefix + "-" + name }

func (l *lab) facts() []layout.Binding {
	var out []layout.Binding
	for name, addr := range podAddresses {
		out = append(out, layout.Binding{Addr: netip.MustParseAddr(addr), UID: name, Ifindex: l.ports[name]})
	}
	return out
}

func (l *lab) close() error {
	var errs []error
	if l.mounted {
		errs = append(errs, unix.Unmount(l.dir, unix.MNT_DETACH))
	}
	errs = append(errs, os.Remove(l.dir))
	for _, name := range l.made {
		errs = append(errs, command("ip", "netns", "delete", l.ns(name)))
	}
	return errors.Join(errs...)
}

func command(args ...string) error {
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// in runs f on a thread in a namespace; sockets that it opens stay there.
func (l *lab) in(name string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Not unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		ns, err := netns.GetFromName(l.ns(name))
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (l *lab) inNode(f func() error) error { return l.in("node", f) }
