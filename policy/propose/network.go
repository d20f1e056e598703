package propose

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"palisade.dev/palisade/api/v1alpha1"
)

// socket is what connections have in common that one rule can allow.
type socket struct {
	operation v1alpha1.SocketOperation
	protocol  string
	port      uint16
}

func compareSockets(a, b socket) int {
	return cmp.Or(cmp.Compare(a.operation, b.operation), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.port, b.port))
}

// anyPort stands for every port; nobody connects to it.
const anyPort = 0

// manyPorts is how many ports of one operation and protocol stand for any: those
// that the kernel gives out are others each time. It keeps the rules of the section
// below what the API allows.
const manyPorts = 4

// ports says, for each operation and protocol, whether its ports are too many to name.
func ports(seen []Observation) map[socket]bool {
	known := map[socket]map[uint16]bool{}
	for i := range seen {
		if o := &seen[i]; o.Socket != "" {
			s := socket{operation: o.Socket, protocol: o.Protocol}
			if known[s] == nil {
				known[s] = map[uint16]bool{}
			}
			known[s][o.Port] = true
		}
	}
	out := map[socket]bool{}
	for s, list := range known {
		out[s] = len(list) > manyPorts || list[anyPort]
	}
	return out
}

// manyPeers is how many addresses at one port stand for any address: pods behind a
// Service come and go.
const manyPeers = 8

func (p *proposer) network(seen []Observation) *v1alpha1.SocketSection {
	peers, times, many := map[socket]map[netip.Addr]bool{}, map[socket]int{}, ports(seen)
	for i := range seen {
		o := &seen[i]
		if o.Socket == "" {
			continue
		}
		s := socket{o.Socket, o.Protocol, o.Port}
		if !hasPorts(o.Protocol) || many[socket{operation: o.Socket, protocol: o.Protocol}] {
			s.port = anyPort
		}
		if peers[s] == nil {
			peers[s] = map[netip.Addr]bool{}
		}
		times[s]++
		if o.Address.IsValid() && !o.Address.IsUnspecified() {
			peers[s][o.Address] = true
		}
	}
	section := &v1alpha1.SocketSection{Default: v1alpha1.ActionDeny}
	for _, s := range slices.SortedFunc(maps.Keys(peers), compareSockets) {
		protocol, ok := protocolOf(s)
		if !ok {
			p.note("network: %s by %s cannot be written as a rule and would be denied", s.operation, s.protocol)
			continue
		}
		name := strings.ToLower(fmt.Sprintf("%s-%s-%d", s.operation, s.protocol, s.port))
		if s.port == anyPort {
			name = strings.ToLower(fmt.Sprintf("%s-%s", s.operation, s.protocol))
		}
		if s.port == anyPort && hasPorts(s.protocol) {
			p.note("network: %s allows every port: more than %d were seen, or one that the kernel chose", name, manyPorts)
		}
		rule := v1alpha1.SocketRule{RuntimeRule: accept(name, 0), Operations: []v1alpha1.SocketOperation{s.operation}}
		rule.Protocols = []v1alpha1.Protocol{protocol}
		switch {
		case len(peers[s]) == 0 || s.operation == v1alpha1.SocketBind || s.operation == v1alpha1.SocketListen:
		case len(peers[s]) >= manyPeers:
			p.note("network: %s reaches any address: %d were seen; name the peers by labels if they are pods", name, len(peers[s]))
		default:
			var networks []v1alpha1.CIDR
			for _, a := range slices.SortedFunc(maps.Keys(peers[s]), netip.Addr.Compare) {
				networks = append(networks, v1alpha1.CIDR(netip.PrefixFrom(a, a.BitLen()).String()))
			}
			rule.Peers = []v1alpha1.Peer{{Networks: networks}}
			p.note("network: %s names %d addresses; name the peers by labels if they are pods", name, len(networks))
		}
		if times[s] == 1 {
			p.note("network: seen only once: %s", name)
		}
		section.Rules = append(section.Rules, rule)
	}
	return section
}

func protocolOf(s socket) (v1alpha1.Protocol, bool) {
	match := &v1alpha1.PortMatch{}
	if s.port != anyPort {
		match.DestinationPort = &v1alpha1.Port{Number: v1alpha1.PortNumber(s.port)}
	}
	switch s.protocol {
	case "tcp":
		return v1alpha1.Protocol{TCP: match}, true
	case "udp":
		return v1alpha1.Protocol{UDP: match}, true
	case "sctp":
		return v1alpha1.Protocol{SCTP: match}, true
	case "icmp":
		return v1alpha1.Protocol{ICMP: &v1alpha1.ICMPMatch{}}, true
	case "icmpv6":
		return v1alpha1.Protocol{ICMPv6: &v1alpha1.ICMPMatch{}}, true
	}
	return v1alpha1.Protocol{}, false
}

// hasPorts reports whether a rule can name ports of a protocol. What the kernel gives
// as the port of its own ping is a number that means nothing another time.
func hasPorts(protocol string) bool {
	return protocol == "tcp" || protocol == "udp" || protocol == "sctp"
}
