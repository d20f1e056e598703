//go:build guest

package inside

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const protoSCTP = 132

// pod is a network namespace on the node's bridge.
type pod struct {
	name   string
	v4, v6 netip.Addr
	link   uint32 // the node's end
	ns     int
}

var (
	clientAddr4, clientAddr6 = netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("fd00:1::1")
	serverAddr4, serverAddr6 = netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fd00:1::2")
)

// node makes a bridge in the guest's own namespace and two pods on it.
func node(t *testing.T) (client, server *pod) {
	t.Helper()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "pods"}}
	must(t, netlink.LinkAdd(bridge))
	t.Cleanup(func() { must(t, netlink.LinkDel(bridge)) })
	must(t, netlink.LinkSetUp(bridge))
	for _, a := range []string{"10.1.0.254/24", "fd00:1::fe/64"} {
		must(t, netlink.AddrAdd(bridge, address(t, a)))
	}
	client = &pod{name: "client", v4: clientAddr4, v6: clientAddr6}
	server = &pod{name: "server", v4: serverAddr4, v6: serverAddr6}
	client.join(t, bridge)
	server.join(t, bridge)
	return client, server
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func address(t *testing.T, text string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(text)
	must(t, err)
	a.Flags = unix.IFA_F_NODAD // tests would wait for the detection
	return a
}

// join makes the pod's namespace and its link to the bridge.
func (p *pod) join(t *testing.T, bridge netlink.Link) {
	t.Helper()
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			p.ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		made <- err
	}()
	must(t, <-made)
	t.Cleanup(func() { must(t, unix.Close(p.ns)) })
	host := "veth-" + p.name
	must(t, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: host, MasterIndex: bridge.Attrs().Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.ns),
	}))
	end, err := netlink.LinkByName(host)
	must(t, err)
	t.Cleanup(func() { must(t, netlink.LinkDel(end)) })
	must(t, netlink.LinkSetUp(end))
	p.link = uint32(end.Attrs().Index)
	must(t, p.within(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return errors.Join(
			netlink.AddrAdd(eth0, address(t, p.v4.String()+"/24")),
			netlink.AddrAdd(eth0, address(t, p.v6.String()+"/64")),
			netlink.LinkSetUp(eth0),
		)
	}))
}

// within does something in the pod's namespace.
func (p *pod) within(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread stays in the namespace
		if err := unix.Setns(p.ns, unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// addr is the pod's address of a family.
func (p *pod) addr(family int) netip.Addr {
	if family == unix.AF_INET {
		return p.v4
	}
	return p.v6
}

func sockaddr(a netip.Addr, port int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: port}
}

// serve answers every connection at a port of the pod with one byte.
func (p *pod) serve(t *testing.T, family, proto, port int) {
	t.Helper()
	var fd int
	must(t, p.within(func() (err error) {
		if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, proto); err != nil {
			return fmt.Errorf("socket of protocol %d: %w", proto, err)
		}
		return errors.Join(unix.Bind(fd, sockaddr(p.addr(family), port)), unix.Listen(fd, 8))
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, _, err := unix.Accept(fd)
			if err != nil {
				return // closed by the cleanup
			}
			// A client that went away needs no answer.
			_, _ = unix.Write(conn, []byte{'!'})
			_ = unix.Close(conn)
		}
	}()
	t.Cleanup(func() {
		must(t, unix.Shutdown(fd, unix.SHUT_RDWR))
		<-done
		must(t, unix.Close(fd))
	})
}

// unhurried is how long an answer that must come is waited for. Emulation is slow.
const unhurried = 30 * time.Second

// errSilence says that nothing came back: what a dropped packet looks like.
var errSilence = errors.New("no answer")

// dial connects and waits for the server's byte, not longer than patience.
func (p *pod) dial(family, proto int, to *pod, port int, patience time.Duration) error {
	return p.within(func() error {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		deadline := time.Now().Add(patience)
		if err := unix.Connect(fd, sockaddr(to.addr(family), port)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
			return fmt.Errorf("connect: %w", err)
		}
		// Readable once the byte, an error or the end is there.
		if err := wait(fd, unix.POLLIN, deadline); err != nil {
			return err
		}
		n, err := unix.Read(fd, make([]byte, 1))
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n != 1 {
			return io.ErrUnexpectedEOF
		}
		return nil
	})
}

func wait(fd int, events int16, deadline time.Time) error {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return errSilence
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: events}}, int(left.Milliseconds())+1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("poll: %w", err)
		case n == 1:
			return nil
		}
	}
}
