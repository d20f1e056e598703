package analysis

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"palisade.dev/palisade/policy/model"
)

// Port is a protocol with the server's port in it.
type Port struct {
	Proto  model.Protocol
	Number model.Port // type<<8|code for ICMP
}

var protocolNames = map[string]model.Protocol{
	"tcp": model.ProtoTCP, "udp": model.ProtoUDP, "sctp": model.ProtoSCTP,
	"icmp": model.ProtoICMP, "icmpv6": model.ProtoICMPv6,
}

const portForms = "write PORT/tcp, PORT/udp, PORT/sctp, TYPE/icmp, TYPE.CODE/icmp, TYPE/icmpv6 or PROTOCOL-NUMBER/ip, for example 8080/tcp"

// ParsePort reads the form in which people write a port: 8080/tcp, 53/udp,
// 8/icmp (type, code 0), 3.4/icmp (type and code), 47/ip (an IP protocol
// without ports, by its number).
func ParsePort(text string) (Port, error) {
	number, name, ok := strings.Cut(text, "/")
	if !ok {
		return Port{}, fmt.Errorf("port %q: %s", text, portForms)
	}
	if name == "ip" {
		n, err := strconv.ParseUint(number, 10, 8)
		if err != nil || named(model.Protocol(n)) != "" {
			return Port{}, fmt.Errorf("port %q: no number of a protocol without ports: %s", text, portForms)
		}
		return Port{Proto: model.Protocol(n)}, nil
	}
	proto, ok := protocolNames[name]
	if !ok {
		return Port{}, fmt.Errorf("port %q: no protocol is called %q: %s", text, name, portForms)
	}
	if proto == model.ProtoICMP || proto == model.ProtoICMPv6 {
		return parseICMP(proto, text, number)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return Port{}, fmt.Errorf("port %q: %q is no port from 1 to 65535", text, number)
	}
	return Port{Proto: proto, Number: model.Port(n)}, nil
}

func parseICMP(proto model.Protocol, text, number string) (Port, error) {
	typeText, codeText, ok := strings.Cut(number, ".")
	if !ok {
		codeText = "0"
	}
	typ, err := strconv.ParseUint(typeText, 10, 8)
	if err != nil {
		return Port{}, fmt.Errorf("port %q: %q is no ICMP type from 0 to 255", text, typeText)
	}
	code, err := strconv.ParseUint(codeText, 10, 8)
	if err != nil {
		return Port{}, fmt.Errorf("port %q: %q is no ICMP code from 0 to 255", text, codeText)
	}
	return Port{Proto: proto, Number: model.Port(typ<<8 | code)}, nil
}

// String is the form that ParsePort reads.
func (p Port) String() string {
	name := named(p.Proto)
	switch {
	case name == "":
		return fmt.Sprintf("%d/ip", p.Proto)
	case p.Proto != model.ProtoICMP && p.Proto != model.ProtoICMPv6:
		return fmt.Sprintf("%d/%s", p.Number, name)
	case p.Number&0xff == 0:
		return fmt.Sprintf("%d/%s", p.Number>>8, name)
	default:
		return fmt.Sprintf("%d.%d/%s", p.Number>>8, p.Number&0xff, name)
	}
}

func named(proto model.Protocol) string {
	for name, p := range protocolNames {
		if p == proto {
			return name
		}
	}
	return ""
}

// fits reports whether a packet of the address's family can carry the protocol.
func (p Port) fits(addr netip.Addr) bool {
	switch p.Proto {
	case model.ProtoICMP:
		return addr.Is4()
	case model.ProtoICMPv6:
		return addr.Is6()
	default:
		return true
	}
}
