package datapath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Frames made by hand, for senders that do not play by the rules.

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
)

// packetSocket sends and receives frames on eth0 of a namespace.
type packetSocket struct {
	fd    int
	index int
}

func (h *host) packets() *packetSocket {
	h.t.Helper()
	s := &packetSocket{}
	h.in(func() {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			h.t.Error(err)
			return
		}
		s.index = i.Index
		all := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
		if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, all); err != nil {
			h.t.Error(err)
			return
		}
		if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: s.index}); err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

func (s *packetSocket) send(t *testing.T, frame []byte) {
	t.Helper()
	if err := unix.Sendto(s.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: s.index, Halen: 6}); err != nil {
		t.Fatal(err)
	}
}

// sees reports whether an incoming frame with the mark in it arrives; must says that it
// should.
func (s *packetSocket) sees(t *testing.T, mark string, must bool) bool {
	t.Helper()
	end := time.Now().Add(within(must))
	b := make([]byte, 65536)
	for {
		left := time.Until(end)
		if left <= 0 {
			return false
		}
		tv := unix.NsecToTimeval(left.Nanoseconds())
		if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			t.Fatal(err)
		}
		n, from, err := unix.Recvfrom(s.fd, b, 0)
		if err != nil {
			continue
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if contains(b[:n], mark) {
			return true
		}
	}
}

func contains(b []byte, mark string) bool {
	for i := 0; i+len(mark) <= len(b); i++ {
		if string(b[i:i+len(mark)]) == mark {
			return true
		}
	}
	return false
}

// frame wraps a packet; tag >= 0 adds a VLAN header with that control word.
func frame(to, from net.HardwareAddr, tag int, packet []byte) []byte {
	f := append(append([]byte{}, to...), from...)
	if tag >= 0 {
		f = binary.BigEndian.AppendUint16(f, etherVLAN)
		f = binary.BigEndian.AppendUint16(f, uint16(tag))
	}
	kind := uint16(etherIPv4)
	if packet[0]>>4 == 6 {
		kind = etherIPv6
	}
	return append(binary.BigEndian.AppendUint16(f, kind), packet...)
}

// ipPacket puts a payload of a protocol between two addresses.
func ipPacket(from, to netip.Addr, protocol uint8, payload []byte) []byte {
	if from.Is6() {
		h := make([]byte, 40)
		h[0] = 0x60
		binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
		h[6], h[7] = protocol, 64
		copy(h[8:], from.AsSlice())
		copy(h[24:], to.AsSlice())
		return append(h, payload...)
	}
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	copy(h[12:], from.AsSlice())
	copy(h[16:], to.AsSlice())
	binary.BigEndian.PutUint16(h[10:], checksum(h, 0))
	return append(h, payload...)
}

// udpPacket is a datagram with the right checksum.
func udpPacket(from, to netip.Addr, sport, dport int, payload string) []byte {
	u := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(u, uint16(sport))
	binary.BigEndian.PutUint16(u[2:], uint16(dport))
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	u = append(u, payload...)
	binary.BigEndian.PutUint16(u[6:], checksum(u, pseudo(from, to, protoUDP, len(u))))
	return ipPacket(from, to, protoUDP, u)
}

// tcpPacket is a segment with flags and no options.
func tcpPacket(from, to netip.Addr, sport, dport int, flags uint8, payload string) []byte {
	s := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(s, uint16(sport))
	binary.BigEndian.PutUint16(s[2:], uint16(dport))
	binary.BigEndian.PutUint32(s[4:], 1000)
	binary.BigEndian.PutUint32(s[8:], 2000)
	s[12], s[13] = 5<<4, flags
	binary.BigEndian.PutUint16(s[14:], 65535)
	s = append(s, payload...)
	binary.BigEndian.PutUint16(s[16:], checksum(s, pseudo(from, to, protoTCP, len(s))))
	return ipPacket(from, to, protoTCP, s)
}

// icmp6Packet is an ICMPv6 message of a type, with a target of zeros and a mark.
func icmp6Packet(from, to netip.Addr, kind, hops uint8, mark string) []byte {
	m := append(make([]byte, 24), mark...)
	m[0] = kind
	binary.BigEndian.PutUint16(m[2:], checksum(m, pseudo(from, to, 58, len(m))))
	p := ipPacket(from, to, 58, m)
	p[7] = hops
	return p
}

// icmpError says that the port of a packet is unreachable, and quotes the packet.
func icmpError(from, to netip.Addr, quoted []byte) []byte {
	kind, code, protocol := byte(3), byte(3), uint8(protoICMP)
	sum := uint32(0)
	m := append(make([]byte, 8), quoted...)
	if from.Is6() {
		kind, code, protocol = 1, 4, 58
		sum = pseudo(from, to, protocol, len(m))
	}
	m[0], m[1] = kind, code
	binary.BigEndian.PutUint16(m[2:], checksum(m, sum))
	return ipPacket(from, to, protocol, m)
}

func pseudo(from, to netip.Addr, protocol uint8, length int) uint32 {
	sum := uint32(protocol) + uint32(length)
	for _, a := range [][]byte{from.AsSlice(), to.AsSlice()} {
		for i := 0; i < len(a); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(a[i:]))
		}
	}
	return sum
}

func checksum(b []byte, sum uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
