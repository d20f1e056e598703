package datapath

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func refusedSoon(c *net.UDPConn, must bool) bool {
	if err := c.SetReadDeadline(time.Now().Add(within(must))); err != nil {
		return false
	}
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, unix.ECONNREFUSED)
}

// TestLiveConnection: a change cuts and opens live connections at the next packet.
func TestLiveConnection(t *testing.T) {
	l := newLab(t)
	b, c := l.pods["b"], l.pods["c"]
	b.serveTCP(8080)
	l.apply(newState().protect("b", false, "c").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		conn, err := c.dial(at(b), 8080, trust)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "before", asks(conn, trust), true)
		l.apply(newState().protect("b", false, "a").build())
		expect(t, "cut", asks(conn, patience), false)
		l.apply(newState().protect("b", false, "c").build())
		if err := conn.SetDeadline(time.Now().Add(trust)); err != nil {
			t.Fatal(err)
		}
		_, err = conn.Read(make([]byte, 1)) // TCP repeats what was lost
		expect(t, "opened again", err == nil, true)
	})
}

// TestFlushedConntrack: a TCP connection met in the middle goes on whichever way
// conntrack takes it to run, and a SYN cannot make use of that.
func TestFlushedConntrack(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		var ln net.Listener
		b.in(func() { ln, _ = net.Listen("tcp", net.JoinHostPort(at(b).String(), "8080")) })
		defer ln.Close()
		l.apply(newState().protect("b", false, "c:8080/tcp").protect("b", true).build())
		conn, err := c.dial(at(b), 8080, trust)
		if err != nil {
			t.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		says := func(from, to net.Conn, must bool) bool {
			if _, err := from.Write([]byte("x")); err != nil {
				return false
			}
			_ = to.SetReadDeadline(time.Now().Add(within(must)))
			_, err := to.Read(make([]byte, 1))
			return err == nil
		}
		expect(t, "control: server to client", says(server, conn, true), true)
		l.node.exec("conntrack", "-F")
		expect(t, "server to client after a flush", says(server, conn, true), true)
		expect(t, "client to server after it", says(conn, server, true), true)
	})
	// An entry made by hand: a, whom b does not accept, sends a segment out of the
	// blue, which b's own freedom to send would excuse, and then a SYN in its shadow.
	l.apply(newState().protect("b", false, "c").build())
	// A reset would end the entry; an accomplice in b sends none.
	b.nft("add table inet quiet; add chain inet quiet out { type filter hook output priority 0; }; add rule inet quiet out tcp flags & rst == rst drop")
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		wire, tap := a.packets(), b.packets()
		const ack, syn = 0x10, 0x02
		wire.send(t, frame(b.mac, a.mac, -1, tcpPacket(at(a), at(b), 4444, 8080, ack, "stray-"+at(a).String())))
		expect(t, "a segment of an unknown connection that b may have opened", tap.sees(t, "stray-"+at(a).String(), true), true)
		wire.send(t, frame(b.mac, a.mac, -1, tcpPacket(at(a), at(b), 4444, 8080, syn, "syn-"+at(a).String())))
		expect(t, "a SYN in its shadow", tap.sees(t, "syn-"+at(a).String(), false), false)
	})
}

// TestSymmetricPorts: where both ends use one port, only the entry's orientation says
// who opened. A stale one is deleted when what it says is denied.
func TestSymmetricPorts(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	ua, ub := a.udp(5000), b.udp(5000)
	says := func(from, to *net.UDPConn, addr netip.Addr, must bool) bool {
		if _, err := from.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(addr, 5000)); err != nil {
			return false
		}
		return hears(to, 1, must)
	}
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		l.apply(newState().build())
		expect(t, "control: b opens", says(ub, ua, at(a), true), true)
		l.apply(newState().protect("a", false).protect("b", false, "a:5000/udp").build())
		expect(t, "a, in the entry that b opened, which is denied now", says(ua, ub, at(b), false), false)
		l.node.in(func() {
			n, err := l.dp.CutDenied(context.Background())
			if err != nil {
				t.Error(err)
			}
			expect(t, "entries deleted", n > 0, true)
		})
		expect(t, "a opens anew", says(ua, ub, at(b), true), true)
		expect(t, "b answers", says(ub, ua, at(a), true), true)
	})
	l.node.exec("conntrack", "-F")
	expect(t, "b opens, denied", says(ub, ua, a.v4, false), false)
	expect(t, "a opens, accepted", says(ua, ub, b.v4, true), true)
}

// TestGroups: a multicast or broadcast reaches no pod while one is isolated: the
// hook sees the group, not who would hear it.
func TestGroups(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	wire, tap := a.packets(), b.packets()
	groups := map[string]struct {
		to  netip.Addr
		mac net.HardwareAddr
	}{
		"multicast":           {netip.MustParseAddr("239.1.2.3"), net.HardwareAddr{1, 0, 0x5e, 1, 2, 3}},
		"broadcast":           {netip.MustParseAddr("255.255.255.255"), net.HardwareAddr{255, 255, 255, 255, 255, 255}},
		"subnet's broadcast":  {netip.MustParseAddr("10.1.0.255"), net.HardwareAddr{255, 255, 255, 255, 255, 255}},
		"multicast over IPv6": {netip.MustParseAddr("ff02::4321"), net.HardwareAddr{0x33, 0x33, 0, 0, 0x43, 0x21}},
	}
	send := func(name, mark string, must bool) bool {
		g := groups[name]
		from := a.v4
		if g.to.Is6() {
			from = a.v6
		}
		wire.send(t, frame(g.mac, a.mac, -1, udpPacket(from, g.to, 4000, 7000, mark+name)))
		return tap.sees(t, mark+name, must)
	}
	for name := range groups {
		expect(t, "control: "+name, send(name, "control ", true), true)
	}
	l.apply(newState().protect("b", true).build())
	for name := range groups {
		expect(t, name+", nobody is isolated for ingress", send(name, "open ", true), true)
	}
	l.apply(newState().protect("b", false, "c").build())
	for name, g := range groups {
		expect(t, name+", b is isolated", send(name, "shut ", false), false)
		from := a.v4
		if g.to.Is6() {
			from = a.v6
		}
		if got := l.deniedBy(from, g.to); got != "(group-address)" {
			t.Errorf("%s: denied by %q, want (group-address)", name, got)
		}
	}
}

// TestDiscovery: isolation does not kill IPv6.
func TestDiscovery(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	b.serveTCP(8080)
	can(t, "control", a, b.v6, 8080, true)
	s := newState()
	for _, pod := range []string{"a", "b", "c", "d"} {
		s.protect(pod, false, "a:8080/tcp").protect(pod, true, "b:8080/tcp")
	}
	l.apply(s.build())
	for _, h := range []*host{a, b, l.node} {
		h.ip("-6 neigh flush all")
	}
	can(t, "with empty neighbour tables and everybody isolated", a, b.v6, 8080, true)
	counters, err := l.dp.Counters()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range counters {
		found = found || (c.Builtin == "(discovery)" && c.Packets > 0)
	}
	expect(t, "discovery counted", found, true)
}

// TestDiscoveryIsNoTunnel: the protocols that always pass do so on the link and in
// one's own name; as a way past the policies they are judged like any other.
func TestDiscoveryIsNoTunnel(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	wire, tap := a.packets(), b.packets()
	const forged = "advertisement in another pod's name"
	packets := map[string]func(mark string) []byte{
		"IGMP to a pod": func(mark string) []byte {
			return ipPacket(a.v4, b.v4, 2, []byte("\x16\x00\x00\x00"+mark))
		},
		"solicitation from beyond the link": func(mark string) []byte {
			return icmp6Packet(a.v6, b.v6, 135, 64, mark)
		},
		"listener report from beyond the link": func(mark string) []byte {
			return icmp6Packet(a.v6, b.v6, 131, 64, mark)
		},
		forged: func(mark string) []byte {
			return icmp6Packet(l.pods["c"].v6, b.v6, 136, 255, mark)
		},
	}
	passes := func(name, mark string, must bool) bool {
		wire.send(t, frame(b.mac, a.mac, -1, packets[name](mark+name)))
		return tap.sees(t, mark+name, must)
	}
	for name := range packets {
		expect(t, "control: "+name, passes(name, "control ", true), true)
	}
	l.apply(newState().protect("b", false).build())
	for name := range packets {
		expect(t, name, passes(name, "judged ", false), false)
		from, want := a.v6, "isolated"
		switch name {
		case "IGMP to a pod":
			from = a.v4
		case forged:
			from, want = l.pods["c"].v6, "(spoofed)"
		}
		to := b.v6
		if from.Is4() {
			to = b.v4
		}
		if got := l.deniedBy(from, to); got != want {
			t.Errorf("%s: denied by %q, want %q", name, got, want)
		}
	}
	l.apply(newState().protect("b", false, "a").build())
	for name := range packets {
		expect(t, name+", a is accepted", passes(name, "accepted ", name != forged), name != forged)
	}
}

// TestProbe: the node reaches its pods, from whatever address it speaks, and gets
// its answers; nobody else does in its name.
func TestProbe(t *testing.T) {
	l := newLab(t)
	b := l.pods["b"]
	b.serveTCP(8080)
	b.serveUDP(5000)
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "control", l.node, at(b), 8080, true)
	})
	l.apply(newState().protect("b", false).protect("b", true).build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "node to b, isolated both ways", l.node, at(b), 8080, true)
		canUDP(t, "node to b by UDP", l.node, at(b), 5000, 10, true)
		can(t, "a to b", l.pods["a"], at(b), 8080, false)
	})
	// From the uplink's address, too.
	l.node.ip("route replace 10.1.0.0/24 dev cni0 src 192.0.2.1")
	l.node.ip("-6 route add fd00:1::/64 dev cni0 metric 1 src 2001:db8::1")
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		c, err := l.node.dial(at(b), 8080, trust)
		if err != nil {
			t.Fatal(err)
		}
		got := netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
		expect(t, "the node speaks as "+got.String(), got == at(l.outside).Prev(), true)
		expect(t, "the node is answered as "+got.String(), asks(c, trust), true)
	})
}

// TestHostNetwork: a pod with the host's network is its node.
func TestHostNetwork(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	l.node.serveTCP(9100)
	b.serveTCP(8080)
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "control: a to the node", a, at(l.node), 9100, true)
	})
	l.apply(newState().protect("b", false).build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "a to the node's pod, not isolated", a, at(l.node), 9100, true)
		can(t, "the node's pod to b, isolated", l.node, at(b), 8080, true)
	})
	l.apply(newState().protect("a", true, "b").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "a to the node's pod, isolated for egress", a, at(l.node), 9100, false)
		can(t, "a to b, accepted", a, at(b), 8080, true)
	})
}

// TestFragments: a packet in pieces is judged as a whole.
func TestFragments(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	b.serveUDP(5000)
	b.serveUDP(5001)
	tap := b.packets()
	const size = 4000
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		canUDP(t, "control", a, at(b), 5001, size, true)
	})
	l.apply(newState().protect("b", false, "a:5000/udp").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		canUDP(t, "accepted port", a, at(b), 5000, size, true)
	})
	for tap.sees(t, "", false) { // what the control left
	}
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		canUDP(t, "other port", a, at(b), 5001, size, false)
		expect(t, "a piece of it", tap.sees(t, string(make([]byte, 100)), false), false)
	})
}

// TestRestart: enforcement outlives the agent, a new one adopts it without a gap,
// and uninstalling opens traffic.
func TestRestart(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	b.serveTCP(8080)
	l.apply(newState().protect("b", false, "c").build())
	can(t, "a to b", a, b.v4, 8080, false)
	before := counterOf(t, l.dp, "isolated")
	if err := l.dp.Close(); err != nil {
		t.Fatal(err)
	}
	can(t, "a to b, nobody there", a, b.v4, 8080, false)
	can(t, "c to b, nobody there", c, b.v4, 8080, true)
	l.reopen()
	expect(t, "adopted", l.dp.Adopted(), true)
	if g, _ := l.dp.Generation(); g.Counter != l.counter {
		t.Errorf("adopted generation %s, want counter %d", g, l.counter)
	}
	can(t, "a to b, adopted", a, b.v4, 8080, false)
	l.apply(newState().protect("b", false, "c").build())
	after := counterOf(t, l.dp, "isolated")
	expect(t, "counters kept", before > 0 && after > before, true)
	can(t, "a to b, applied", a, b.v4, 8080, false)
	can(t, "c to b, applied", c, b.v4, 8080, true)
	for _, path := range []string{l.config.PinDir, l.config.withDefaults().stateDir()} {
		if i, err := os.Stat(path); err != nil {
			t.Error(err)
		} else if i.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v, want 0700", path, i.Mode())
		}
	}
	l.node.in(func() {
		if err := l.dp.Uninstall(); err != nil {
			t.Error(err)
		}
	})
	can(t, "a to b, uninstalled", a, b.v4, 8080, true)
	if _, err := os.Stat(l.config.PinDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins left: %v", err)
	}
	l.reopen()
}

func counterOf(t *testing.T, d *Datapath, rule string) uint64 {
	t.Helper()
	counters, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counters {
		if c.Row.Rule == rule {
			return c.Packets
		}
	}
	return 0
}
