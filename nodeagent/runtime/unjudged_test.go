package runtime

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/snapshot"
)

// TestSocketsUnjudged: what the backend cgroup says that it cannot judge is what happens
// although nothing is accepted, and what it does not say so of does not.
func TestSocketsUnjudged(t *testing.T) {
	n := newNode(t, func(c *Config) { c.Best = events.Signal })
	backend := n.r.Backends()[Network]
	if backend.Means != events.Cgroup {
		t.Skipf("this kernel has no hooks of cgroups for sockets: %s", backend.Detail)
	}
	others, _, icmp := snapshot.SocketsAsked(backend.Unjudged)
	for name, c := range map[string]struct {
		operation string
		bits      uint32
		unjudged  uint32
	}{
		"connect":       {"connect tcp", bitsOf(Network, "Connect"), others},
		"connect MPTCP": {"connect mptcp", bitsOf(Network, "Connect"), others},
		"connect ICMP":  {"connect icmp", bitsOf(Network, "Connect"), icmp},
		"bind":          {"bind tcp", bitsOf(Network, "Bind"), others},
		"bind MPTCP":    {"bind mptcp", bitsOf(Network, "Bind"), others},
		"bind ICMP":     {"bind icmp", bitsOf(Network, "Bind"), icmp},
		"send UDP":      {"send udp", bitsOf(Network, "Send"), others},
		"send ICMP":     {"send icmp", bitsOf(Network, "Send"), icmp},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			operation, protocol, _ := strings.Cut(c.operation, " ")
			if out, err := b.run(t, "/bin/app", "socket", operation, protocol); err != nil || out != "done" {
				t.Skipf("not possible here: %s, %v", out, err)
			}
			n.apply([]*box{b}, snapshot.RuntimeRuleRow{Section: snapshot.SectionNetwork, Action: snapshot.RuntimeDeny, Isolation: true})
			out, err := b.run(t, "/bin/app", "socket", operation, protocol)
			switch {
			case err == nil && out == "done":
				if c.unjudged&c.bits == 0 {
					t.Errorf("it happens, and the node says that it judges it")
				}
			case out == "EPERM":
				if c.unjudged&c.bits != 0 {
					t.Errorf("it is denied, and the node says that it does not judge it")
				}
			default:
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

// socket does something with a socket of a protocol, in a network of its own where
// everybody may ping.
func socket(operation, protocol string) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	kind := map[string][2]int{
		"tcp": {unix.SOCK_STREAM, unix.IPPROTO_TCP}, "mptcp": {unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
		"udp": {unix.SOCK_DGRAM, unix.IPPROTO_UDP}, "icmp": {unix.SOCK_DGRAM, unix.IPPROTO_ICMP},
	}[protocol]
	fd, err := unix.Socket(unix.AF_INET, kind[0], kind[1])
	if err != nil {
		return err
	}
	at := &unix.SockaddrInet4{Port: 7999, Addr: [4]byte{127, 0, 0, 1}}
	switch operation {
	case "connect":
		// Nobody listens: that it was tried is all that counts.
		if err := unix.Connect(fd, at); !errors.Is(err, unix.ECONNREFUSED) {
			return err
		}
		return nil
	case "send":
		echo := []byte{8, 0, 0, 0, 0, 0, 0, 0}
		return unix.Sendto(fd, echo, 0, at)
	}
	return unix.Bind(fd, at)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
