package datapath

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

// host is a network namespace: the node, a pod, or somebody outside.
type host struct {
	t      *testing.T
	name   string
	ns     string
	v4, v6 netip.Addr
	port   uint32 // the node's end of a pod's cable
	mac    net.HardwareAddr
}

// lab is a node with a bridge and pods on it, and somebody outside.
//
//	a b c d ── cni0 (10.1.0.1, fd00:1::1) node ── up0 (192.0.2.1) ── outside (192.0.2.2)
type lab struct {
	t       *testing.T
	prefix  string
	node    *host
	outside *host
	pods    map[string]*host
	dp      *Datapath
	config  Config
	counter uint64
}

// The pods' last octets.
var podNumbers = map[string]int{"a": 11, "b": 12, "c": 13, "d": 14}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: it makes network namespaces and loads BPF programs")
	}
}

// newLab builds the namespaces. Nothing judges yet: use it for the control.
func newLab(t *testing.T) *lab {
	t.Helper()
	needRoot(t)
	var id [3]byte
	if _, err := rand.Read(id[:]); err != nil {
		t.Fatal(err)
	}
	t.Parallel() // most of a test is waiting for what must not come
	l := &lab{t: t, prefix: "pal-" + hex.EncodeToString(id[:]), pods: map[string]*host{}}
	l.node = l.host("node", "10.1.0.1", "fd00:1::1")
	l.outside = l.host("out", "192.0.2.2", "2001:db8::2")
	l.node.ip("link add cni0 type bridge mcast_snooping 0")
	l.node.ip("link set cni0 up")
	l.node.ip("addr add 10.1.0.1/24 brd + dev cni0")
	l.node.ip("addr add fd00:1::1/64 dev cni0 nodad")
	for _, name := range []string{"a", "b", "c", "d"} {
		l.pod(name, podNumbers[name])
	}
	l.cable(l.outside, "up0")
	l.node.ip("addr add 192.0.2.1/24 dev up0")
	l.node.ip("addr add 2001:db8::1/64 dev up0 nodad")
	l.outside.ip("addr add 192.0.2.2/24 dev eth0")
	l.outside.ip("addr add 2001:db8::2/64 dev eth0 nodad")
	l.outside.ip("route add 10.1.0.0/24 via 192.0.2.1")
	l.outside.ip("-6 route add fd00:1::/64 via 2001:db8::1")
	for name, value := range map[string]string{
		"net/ipv4/ip_forward":                      "1",
		"net/ipv6/conf/all/forwarding":             "1",
		"net/bridge/bridge-nf-call-iptables":       "1",
		"net/bridge/bridge-nf-call-ip6tables":      "1",
		"net/bridge/bridge-nf-filter-vlan-tagged":  "1",
		"net/bridge/bridge-nf-filter-pppoe-tagged": "1",
		"net/ipv4/conf/all/rp_filter":              "0",
		"net/ipv4/conf/default/rp_filter":          "0",
		"net/netfilter/nf_conntrack_udp_timeout":   "30",
		"net/ipv4/icmp_ratelimit":                  "0",
		"net/ipv4/conf/cni0/send_redirects":        "0",
		"net/ipv4/conf/all/send_redirects":         "0",
	} {
		l.node.sysctl(name, value)
	}
	// Something must ask for tracking, or the kernel does none.
	l.node.nft("add table inet lab; add chain inet lab track { type filter hook prerouting priority 0; }; add rule inet lab track ct state new")
	l.node.nft("add rule inet lab track ct state established")
	return l
}

func (l *lab) host(name, v4, v6 string) *host {
	h := &host{t: l.t, name: name, ns: l.prefix + "-" + name, v4: netip.MustParseAddr(v4), v6: netip.MustParseAddr(v6)}
	run(l.t, "ip", "netns", "add", h.ns)
	l.t.Cleanup(func() { run(l.t, "ip", "netns", "delete", h.ns) })
	h.ip("link set lo up")
	h.sysctl("net/ipv6/conf/default/accept_dad", "0")
	h.sysctl("net/ipv6/conf/all/accept_dad", "0")
	return h
}

// cable connects eth0 of a namespace to a device of the node.
func (l *lab) cable(h *host, device string) {
	run(l.t, "ip", "link", "add", device, "netns", l.node.ns, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
	l.node.ip("link set " + device + " up")
	h.ip("link set eth0 up")
	l.node.in(func() {
		i, err := net.InterfaceByName(device)
		if err != nil {
			l.t.Fatal(err)
		}
		h.port = uint32(i.Index)
	})
	h.in(func() {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			l.t.Fatal(err)
		}
		h.mac = i.HardwareAddr
	})
}

func (l *lab) pod(name string, number int) {
	h := l.host(name, fmt.Sprintf("10.1.0.%d", number), fmt.Sprintf("fd00:1::%x", number))
	l.pods[name] = h
	l.cable(h, "v-"+name)
	l.node.ip("link set v-" + name + " master cni0")
	run(l.t, "bridge", "-n", l.node.ns, "link", "set", "dev", "v-"+name, "hairpin", "on")
	h.ip(fmt.Sprintf("addr add %s/24 brd + dev eth0", h.v4))
	h.ip(fmt.Sprintf("addr add %s/64 dev eth0 nodad", h.v6))
	h.ip("route add default via 10.1.0.1")
	h.ip("-6 route add default via fd00:1::1")
}

// open loads and attaches the datapath in the node, without any tables.
func (l *lab) open() {
	l.t.Helper()
	dir := filepath.Join(l.t.TempDir(), "bpf")
	if err := os.Mkdir(dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
		l.t.Fatalf("mount bpf %s: %v", dir, err)
	}
	l.t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			l.t.Errorf("unmount %s: %v", dir, err)
		}
	})
	l.config = Config{PinDir: filepath.Join(dir, "palisade"), EventsPerSecond: 1000}
	l.reopen()
	l.t.Cleanup(func() {
		l.node.in(func() {
			if err := l.dp.Uninstall(); err != nil {
				l.t.Errorf("uninstall: %v", err)
			}
		})
	})
}

// reopen is what a new agent does.
func (l *lab) reopen() {
	l.t.Helper()
	l.node.in(func() {
		dp, err := Open(l.config)
		if err != nil {
			l.t.Fatal(err)
		}
		l.dp = dp
	})
}

// apply brings a state into force, opening the datapath if need be.
func (l *lab) apply(b *rowtest.Builder) {
	l.t.Helper()
	if l.dp == nil {
		l.open()
	}
	l.counter++
	u := layout.Update{Generation: snapshot.Generation{Counter: l.counter}, Full: true, Delta: b.Full(), Facts: l.facts()}
	if _, err := l.dp.Apply(l.t.Context(), u); err != nil {
		l.t.Fatal(err)
	}
}

// facts are what CNI would have reported.
func (l *lab) facts() []layout.Binding {
	out := []layout.Binding{}
	for name, h := range l.pods {
		for _, a := range []netip.Addr{h.v4, h.v6} {
			out = append(out, layout.Binding{Addr: a, UID: "uid-" + name, Ifindex: h.port})
		}
	}
	return out
}

// state builds rows where every pod is its own kind and group, nothing is
// isolated, and each may then be protected by protect.
type state struct {
	*rowtest.Builder
	open    snapshot.ProgramID
	shut    snapshot.ProgramID
	ingress map[string]snapshot.RulesetID
	egress  map[string]snapshot.RulesetID
	hidden  string // a pod of which no address is known
}

func newState() *state {
	s := &state{Builder: rowtest.New("node", "10.1.0.0/24", "fd00:1::/64"), ingress: map[string]snapshot.RulesetID{}, egress: map[string]snapshot.RulesetID{}}
	s.open = s.Program(s.Allow("default"))
	s.shut = s.Program(s.Deny("isolated"))
	return s
}

// Groups that rules in tests name.
var labGroups = []string{"a", "b", "c", "d", "outside", "node"}

// protect isolates a pod in a direction and accepts what is listed: "c" is all of
// pod c's traffic, "c:8080/tcp" a part of it.
func (s *state) protect(pod string, egress bool, accept ...string) *state {
	name := "in-" + pod
	if egress {
		name = "out-" + pod
	}
	ports := map[string][]snapshot.Segment{}
	whole := map[string]bool{}
	for _, entry := range accept {
		peer, port, some := strings.Cut(entry, ":")
		if !some {
			whole[peer] = true
			continue
		}
		ports[peer] = append(ports[peer], s.segment(entry, port))
	}
	programs := map[string]snapshot.ProgramID{}
	rs := s.Ruleset(name, egress, labGroups, func(in func(string) bool) snapshot.ProgramID {
		for _, g := range labGroups {
			if !in(g) {
				continue
			}
			if whole[g] {
				return s.open
			}
			if len(ports[g]) > 0 {
				if _, ok := programs[g]; !ok {
					programs[g] = s.Program(s.Deny(name), ports[g]...)
				}
				return programs[g]
			}
		}
		return s.shut
	})
	if egress {
		s.egress[pod] = rs
	} else {
		s.ingress[pod] = rs
	}
	return s
}

func (s *state) segment(rule, port string) snapshot.Segment {
	var n, proto int
	number, name, _ := strings.Cut(port, "/")
	fmt.Sscan(number, &n)
	proto = map[string]int{"tcp": protoTCP, "udp": protoUDP, "icmp": protoICMP}[name]
	return snapshot.Segment{Proto: uint8(proto), Lo: uint16(n), Hi: uint16(n), Answer: s.Allow(rule)}
}

// build finishes the rows.
func (s *state) build() *rowtest.Builder {
	free := s.Ruleset("free", false, nil, func(func(string) bool) snapshot.ProgramID { return s.open })
	for _, pod := range []string{"a", "b", "c", "d"} {
		in, out := free, free
		if r, ok := s.ingress[pod]; ok {
			in = r
		}
		if r, ok := s.egress[pod]; ok {
			out = r
		}
		s.Kind(pod, pod)
		s.Subject(pod, in, out)
		s.Local("uid-"+pod, pod)
		if pod == s.hidden {
			continue
		}
		s.Address(fmt.Sprintf("10.1.0.%d", podNumbers[pod]), pod, "uid-"+pod)
		s.Address(fmt.Sprintf("fd00:1::%x", podNumbers[pod]), pod, "uid-"+pod)
	}
	s.Part("192.0.2.0/24", "outside")
	s.Part("2001:db8::/64", "outside")
	return s.Builder
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (h *host) ip(command string) string {
	h.t.Helper()
	return run(h.t, "ip", append([]string{"-n", h.ns}, strings.Fields(command)...)...)
}

func (h *host) exec(name string, args ...string) string {
	h.t.Helper()
	return run(h.t, "ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
}

func (h *host) nft(rules string) {
	h.t.Helper()
	h.exec("nft", rules)
}

func (h *host) sysctl(name, value string) {
	h.t.Helper()
	h.in(func() {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			h.t.Fatal(err)
		}
	})
}

// in runs f on a thread in the namespace. What f opens stays there.
func (h *host) in(f func()) {
	h.t.Helper()
	done := make(chan bool, 1)
	go func() {
		ok := false
		defer func() { done <- ok }()
		// The thread is not unlocked, and so ends with the goroutine.
		runtime.LockOSThread()
		ns, err := netns.GetFromName(h.ns)
		if err != nil {
			h.t.Errorf("namespace %s: %v", h.ns, err)
			return
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			h.t.Errorf("namespace %s: %v", h.ns, err)
			return
		}
		f()
		ok = true
	}()
	if !<-done {
		h.t.FailNow()
	}
}

// patience is how long a packet may take before it counts as lost; trust is how long
// it may take where it must arrive, on a machine that is busy with other things.
const (
	patience = 500 * time.Millisecond
	trust    = 10 * time.Second
)

// within is how long to wait for what must arrive, or must not.
func within(must bool) time.Duration {
	if must {
		return trust
	}
	return patience
}

// serveTCP echoes on a port until the test ends.
func (h *host) serveTCP(port int) {
	h.t.Helper()
	h.in(func() {
		ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			h.t.Error(err)
			return
		}
		h.t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				h.t.Cleanup(func() { c.Close() })
				go echo(c)
			}
		}()
	})
}

func echo(c net.Conn) {
	b := make([]byte, 1024)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

// dial opens a TCP connection, or returns why it could not.
func (h *host) dial(to netip.Addr, port int, wait time.Duration) (c net.Conn, err error) {
	h.t.Helper()
	h.in(func() {
		c, err = net.DialTimeout("tcp", netip.AddrPortFrom(to, uint16(port)).String(), wait)
	})
	if err == nil {
		h.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// asks reports whether a line goes there and back on a connection.
func asks(c net.Conn, wait time.Duration) bool {
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		return false
	}
	b := make([]byte, 16)
	n, err := c.Read(b)
	return err == nil && string(b[:n]) == "hello"
}

// reaches reports whether a TCP connection can be opened and used; must says that
// it should.
func (h *host) reaches(to netip.Addr, port int, must bool) bool {
	h.t.Helper()
	wait := within(must)
	c, err := h.dial(to, port, wait)
	if err != nil {
		return false
	}
	defer c.Close()
	return asks(c, wait)
}

// can checks that a TCP connection can be opened and used, or cannot.
func can(t *testing.T, what string, from *host, to netip.Addr, port int, want bool) {
	t.Helper()
	expect(t, what, from.reaches(to, port, want), want)
}

// serveUDP answers datagrams on a port until the test ends.
func (h *host) serveUDP(port int) *net.UDPConn {
	h.t.Helper()
	c := h.udp(port)
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if _, err := c.WriteToUDPAddrPort(b[:n], from); err != nil {
				continue
			}
		}
	}()
	return c
}

func (h *host) udp(port int) (c *net.UDPConn) {
	h.t.Helper()
	h.in(func() {
		var err error
		if c, err = net.ListenUDP("udp", &net.UDPAddr{Port: port}); err != nil {
			h.t.Errorf("udp %d: %v", port, err)
		}
	})
	h.t.Cleanup(func() { c.Close() })
	return c
}

// canUDP checks that a datagram of a size is answered, or is not.
func canUDP(t *testing.T, what string, from *host, to netip.Addr, port, size int, want bool) {
	t.Helper()
	expect(t, what, from.asksUDP(to, port, size, want), want)
}

// asksUDP reports whether a datagram of a size is answered; must says that it should.
func (h *host) asksUDP(to netip.Addr, port, size int, must bool) bool {
	h.t.Helper()
	c := h.udp(0)
	defer c.Close()
	if _, err := c.WriteToUDPAddrPort(make([]byte, size), netip.AddrPortFrom(to, uint16(port))); err != nil {
		return false
	}
	return hears(c, size, must)
}

func hears(c *net.UDPConn, size int, must bool) bool {
	if err := c.SetReadDeadline(time.Now().Add(within(must))); err != nil {
		return false
	}
	b := make([]byte, 65536)
	n, _, err := c.ReadFromUDPAddrPort(b)
	return err == nil && n == size
}

// expect fails the test if an observation is not as it should be.
func expect(t *testing.T, what string, got, want bool) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// both runs a test for IPv4 and IPv6.
func both(t *testing.T, f func(t *testing.T, at func(*host) netip.Addr)) {
	t.Run("ipv4", func(t *testing.T) { f(t, func(h *host) netip.Addr { return h.v4 }) })
	t.Run("ipv6", func(t *testing.T) { f(t, func(h *host) netip.Addr { return h.v6 }) })
}

// deniedBy waits for an event of a denial and returns the rule that made it.
func (l *lab) deniedBy(from, to netip.Addr) string {
	l.t.Helper()
	r, err := l.dp.Events()
	if err != nil {
		l.t.Fatal(err)
	}
	defer r.Close()
	r.SetDeadline(time.Now().Add(trust))
	for {
		e, err := r.Read()
		if err != nil {
			return ""
		}
		if !e.Denied || e.Client.Addr() != from || e.Server.Addr() != to {
			continue
		}
		for _, j := range []Judged{e.Egress, e.Ingress} {
			if j.Enforced.Deny {
				return j.Enforced.Row.Rule + j.Enforced.Builtin
			}
		}
	}
}
