package datapath

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// Each of these got through, or was cut, in a prototype once.

// TestUntracked: state 7, untracked, looks like a reply if only the number is read.
func TestUntracked(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	b.serveUDP(5353)
	l.node.nft("add table inet raw; add chain inet raw pre { type filter hook prerouting priority raw; }; add rule inet raw pre udp dport 5353 notrack; add rule inet raw pre udp sport 5353 notrack")
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		canUDP(t, "control: a to b untracked", a, at(b), 5353, 10, true)
	})
	l.apply(newState().protect("b", false, "c:5353/udp").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		canUDP(t, "a to b untracked, isolated", a, at(b), 5353, 10, false)
		if got := l.deniedBy(at(a), at(b)); got != "isolated" {
			t.Errorf("denied by %q, want isolated", got)
		}
		canUDP(t, "c to b untracked, accepted", c, at(b), 5353, 10, true)
	})
}

// TestErrorAboutUntracked: an ICMP error that quotes an untracked packet belongs to
// no connection, and is judged as the first packet of one.
func TestErrorAboutUntracked(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	l.node.nft("add table inet raw; add chain inet raw pre { type filter hook prerouting priority raw; }; add rule inet raw pre udp dport 5353 notrack")
	wire, tap := a.packets(), b.packets()
	send := func(t *testing.T, at func(*host) netip.Addr, mark string, must bool) bool {
		quoted := udpPacket(at(b), at(a), 4000, 5353, mark)
		wire.send(t, frame(b.mac, a.mac, -1, icmpError(at(a), at(b), quoted)))
		return tap.sees(t, mark, must)
	}
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "control: error to b", send(t, at, "control-"+at(b).String(), true), true)
	})
	l.apply(newState().protect("b", false, "c").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "error to b, isolated", send(t, at, "denied-"+at(b).String(), false), false)
		if got := l.deniedBy(at(a), at(b)); got != "isolated" {
			t.Errorf("denied by %q, want isolated", got)
		}
	})
	l.apply(newState().protect("b", false, "a").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "error to b, accepted", send(t, at, "accepted-"+at(b).String(), true), true)
	})
}

// TestErrorAboutConnection: an ICMP error takes the verdict of what it quotes.
func TestErrorAboutConnection(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	refused := func(t *testing.T, to netip.Addr, must bool) bool {
		var c *net.UDPConn
		a.in(func() { c, _ = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9))) })
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		return refusedSoon(c, must)
	}
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "control: a learns that b's port is closed", refused(t, at(b), true), true)
	})
	l.apply(newState().protect("a", false).protect("b", false, "a:9/udp").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "a learns it though isolated: the connection is accepted", refused(t, at(b), true), true)
	})
	l.apply(newState().protect("a", false).protect("b", false, "c").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "a does not where the connection is not", refused(t, at(b), false), false)
	})
}

// TestService: the original destination is the Service's address; the server that a
// policy knows stands in the source of replies.
func TestService(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	b.serveTCP(8080)
	service := func(at func(*host) netip.Addr) netip.Addr {
		if at(a).Is4() {
			return netip.MustParseAddr("10.96.0.10")
		}
		return netip.MustParseAddr("fd00:96::10")
	}
	l.translate("10.96.0.10", "fd00:96::10", 80, b, 8080)
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "control: a to the Service", a, service(at), 80, true)
	})
	l.apply(newState().protect("b", false, "a:8080/tcp").protect("a", true, "b:8080/tcp").protect("a", false).build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "a to the Service, accepted by the pod's port", a, service(at), 80, true)
		can(t, "c to the Service, isolated", c, service(at), 80, false)
	})
	l.apply(newState().protect("a", true, "b:80/tcp").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "a to the Service, accepted only by the Service's port", a, service(at), 80, false)
	})
}

// translate makes a Service with one pod behind it.
func (l *lab) translate(v4, v6 string, port int, to *host, target int) {
	l.node.nft("add table inet services; add chain inet services pre { type nat hook prerouting priority dstnat; }; add chain inet services out { type nat hook output priority -100; }; add chain inet services post { type nat hook postrouting priority srcnat; }")
	for _, chain := range []string{"pre", "out"} {
		l.node.nft(fmt.Sprintf("add rule inet services %s ip daddr %s tcp dport %d dnat ip to %s:%d", chain, v4, port, to.v4, target))
		l.node.nft(fmt.Sprintf("add rule inet services %s ip6 daddr %s tcp dport %d dnat ip6 to [%s]:%d", chain, v6, port, to.v6, target))
	}
}

// TestHairpin: a pod that meets itself behind a Service reaches itself, whatever
// isolates it.
func TestHairpin(t *testing.T) {
	l := newLab(t)
	a, c := l.pods["a"], l.pods["c"]
	a.serveTCP(8080)
	l.translate("10.96.0.10", "fd00:96::10", 80, a, 8080)
	// What kube-proxy does to a pod's connection to itself: it seems to come from the node.
	l.node.nft(fmt.Sprintf("add rule inet services post ip saddr %s ip daddr %s masquerade", a.v4, a.v4))
	l.node.nft(fmt.Sprintf("add rule inet services post ip6 saddr %s ip6 daddr %s masquerade", a.v6, a.v6))
	services := []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00:96::10")}
	for _, s := range services {
		can(t, "control: a to itself by "+s.String(), a, s, 80, true)
	}
	l.apply(newState().protect("a", false).protect("a", true).build())
	for _, s := range services {
		can(t, "a, isolated, to itself by "+s.String(), a, s, 80, true)
		can(t, "c to a by "+s.String(), c, s, 80, false)
	}
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "a to its own address", a, at(a), 8080, true)
	})
}

// TestNodePort: who comes from outside by a port of the node is who he is.
func TestNodePort(t *testing.T) {
	l := newLab(t)
	b := l.pods["b"]
	b.serveTCP(8080)
	l.translate("192.0.2.1", "2001:db8::1", 30080, b, 8080)
	ports := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	for _, p := range ports {
		can(t, "control: outside to "+p.String(), l.outside, p, 30080, true)
	}
	l.apply(newState().protect("b", false, "outside:8080/tcp").build())
	for _, p := range ports {
		can(t, "outside to "+p.String()+", accepted by its block", l.outside, p, 30080, true)
	}
	l.apply(newState().protect("b", false, "c").build())
	for _, p := range ports {
		can(t, "outside to "+p.String()+", isolated", l.outside, p, 30080, false)
	}
}

// TestPriorityTag: a frame with a VLAN header of VLAN 0 is delivered like any other,
// and went around the hook.
func TestPriorityTag(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	wire, inbox := a.packets(), b.udp(7000)
	const priority = 5 << 13
	send := func(t *testing.T, at func(*host) netip.Addr, must bool) bool {
		wire.send(t, frame(b.mac, a.mac, priority, udpPacket(at(a), at(b), 4000, 7000, "tagged")))
		return hears(inbox, len("tagged"), must)
	}
	l.apply(newState().protect("b", false, "c").build())
	l.node.sysctl("net/bridge/bridge-nf-filter-vlan-tagged", "0")
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "control: around the hook without the setting", send(t, at, true), true)
	})
	l.node.sysctl("net/bridge/bridge-nf-filter-vlan-tagged", "1")
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "tagged frame to b, isolated", send(t, at, false), false)
	})
	l.apply(newState().protect("b", false, "a").build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "tagged frame to b, accepted", send(t, at, true), true)
	})
}

// TestSpoofed: a pod speaks as nobody but itself, on the bridge and through the node.
func TestSpoofed(t *testing.T) {
	senders := map[string][2]string{
		"gateway":     {"10.1.0.1", "fd00:1::1"},
		"uplink":      {"192.0.2.1", "2001:db8::1"},
		"unbound":     {"10.1.0.77", "fd00:1::77"},
		"another pod": {"10.1.0.13", "fd00:1::d"},
		"outside":     {"192.0.2.9", "2001:db8::9"},
		"a stranger":  {"198.51.100.1", "2001:db8:5::1"},
		"link-local":  {"169.254.7.7", "fe80::7777"},
	}
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	wire, tap, far := a.packets(), b.packets(), l.outside.packets()
	bridge := l.node.device("cni0")
	send := func(t *testing.T, from, to netip.Addr, mac net.HardwareAddr, at *packetSocket, mark string, must bool) bool {
		wire.send(t, frame(mac, a.mac, -1, udpPacket(from, to, 4000, 7000, mark)))
		return at.sees(t, mark, must)
	}
	each := func(f func(name string, from netip.Addr, b, out netip.Addr)) {
		for name, addrs := range senders {
			f(name, netip.MustParseAddr(addrs[0]), b.v4, l.outside.v4)
			f(name, netip.MustParseAddr(addrs[1]), b.v6, l.outside.v6)
		}
	}
	each(func(name string, from, to, _ netip.Addr) {
		expect(t, "control: as "+name+" "+from.String(), send(t, from, to, b.mac, tap, "c-"+from.String(), true), true)
	})
	l.apply(newState().build())
	each(func(name string, from, to, out netip.Addr) {
		expect(t, "as "+name+" "+from.String()+" on the bridge", send(t, from, to, b.mac, tap, "s-"+from.String(), false), false)
		if got := l.deniedBy(from, to); got != "(spoofed)" {
			t.Errorf("as %s: denied by %q, want (spoofed)", name, got)
		}
		expect(t, "as "+name+" "+from.String()+" through the node", send(t, from, out, bridge, far, "r-"+from.String(), false), false)
	})
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "as itself", send(t, at(a), at(b), b.mac, tap, "ok-"+at(a).String(), true), true)
		expect(t, "as itself through the node", send(t, at(a), at(l.outside), bridge, far, "or-"+at(a).String(), true), true)
	})
}

// TestMalformed: what is too short to say its ports is accepted by no rule about ports,
// nor by one about everything.
func TestMalformed(t *testing.T) {
	l := newLab(t)
	a, b := l.pods["a"], l.pods["b"]
	wire, tap := a.packets(), b.packets()
	send := func(t *testing.T, at func(*host) netip.Addr, mark string, must bool) bool {
		wire.send(t, frame(b.mac, a.mac, -1, ipPacket(at(a), at(b), protoUDP, []byte(mark))))
		return tap.sees(t, mark, must)
	}
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "control", send(t, at, "ctl", true), true)
	})
	l.apply(newState().build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "three bytes of UDP", send(t, at, "xyz", false), false)
		if got := l.deniedBy(at(a), at(b)); got != "(malformed)" {
			t.Errorf("denied by %q, want (malformed)", got)
		}
	})
}

// TestSpoofedFromOutside: nobody else speaks as a pod of this node.
func TestSpoofedFromOutside(t *testing.T) {
	l := newLab(t)
	b := l.pods["b"]
	wire, tap := l.outside.packets(), b.packets()
	uplink := l.node.device("up0")
	send := func(t *testing.T, at func(*host) netip.Addr, mark string, must bool) bool {
		wire.send(t, frame(uplink, l.outside.mac, -1, udpPacket(at(l.pods["a"]), at(b), 4000, 7000, mark)))
		return tap.sees(t, mark, must)
	}
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "control: outside as pod a", send(t, at, "c-"+at(b).String(), true), true)
	})
	l.apply(newState().build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		expect(t, "outside as pod a", send(t, at, "s-"+at(b).String(), false), false)
	})
}

// TestUnboundAddress: an address of the node's range that nobody is known to have is
// denied while a pod that is placed here and has none yet would be isolated.
func TestUnboundAddress(t *testing.T) {
	l := newLab(t)
	c, d := l.pods["c"], l.pods["d"]
	c.serveTCP(8080)
	d.serveTCP(8080)
	delete(l.pods, "d") // nobody reports it
	without := func(s *state) *state {
		s.hidden = "d"
		return s
	}
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "control: d to c", d, at(c), 8080, true)
	})
	l.apply(without(newState().protect("d", false, "a").protect("d", true, "a")).build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "from d, not yet known, would be isolated", d, at(c), 8080, false)
		if got := l.deniedBy(at(d), at(c)); got != "(unbound-address)" {
			t.Errorf("denied by %q, want (unbound-address)", got)
		}
		can(t, "to d", c, at(d), 8080, false)
	})
	l.apply(without(newState()).build())
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		can(t, "from d, not yet known, would be free", d, at(c), 8080, true)
		can(t, "to d", c, at(d), 8080, true)
	})
}

func (h *host) device(name string) (mac net.HardwareAddr) {
	h.t.Helper()
	h.in(func() {
		i, err := net.InterfaceByName(name)
		if err != nil {
			h.t.Error(err)
			return
		}
		mac = i.HardwareAddr
	})
	return mac
}
