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

// name is what a rule about it is called.
func (s socket) name() string {
	if s.port == anyPort {
		return strings.ToLower(fmt.Sprintf("%s-%s", s.operation, s.protocol))
	}
	return strings.ToLower(fmt.Sprintf("%s-%s-%d", s.operation, s.protocol, s.port))
}

// anyPort stands for every port; nobody connects to it.
const anyPort = 0

// manyPorts is how many ports of one operation and protocol stand for any: those
// that the kernel gives out are others each time. It keeps the rules of the section
// below what the API allows.
const manyPorts = 4

// reached is what is known of a socket.
type reached struct {
	times     int
	known     bool // a rule names it already
	addresses map[netip.Addr]bool
	any       bool // some had no address that a rule can name
}

// sockets gathers what was seen and what the policy's rules name, by operation,
// protocol and port; where ports are too many to name, for all of them.
func (p *proposer) sockets(seen []Observation) map[socket]*reached {
	known := p.knownSockets()
	ports := map[socket]map[uint16]bool{}
	port := func(s socket) {
		all := socket{operation: s.operation, protocol: s.protocol}
		if ports[all] == nil {
			ports[all] = map[uint16]bool{}
		}
		ports[all][s.port] = true
	}
	for i := range seen {
		if o := &seen[i]; o.Socket != "" {
			port(socket{o.Socket, o.Protocol, o.Port})
		}
	}
	for s := range known {
		port(s)
	}
	out := map[socket]*reached{}
	at := func(s socket) *reached {
		all := socket{operation: s.operation, protocol: s.protocol}
		if !hasPorts(s.protocol) || len(ports[all]) > manyPorts || ports[all][anyPort] {
			s = all
		}
		if out[s] == nil {
			out[s] = &reached{addresses: map[netip.Addr]bool{}}
		}
		return out[s]
	}
	for i := range seen {
		if o := &seen[i]; o.Socket != "" {
			r := at(socket{o.Socket, o.Protocol, o.Port})
			r.times++
			r.any = r.any || !o.Address.IsValid()
			if o.Address.IsValid() {
				r.addresses[o.Address.WithZone("")] = true
			}
		}
	}
	for s, addresses := range known {
		r := at(s)
		r.known = true
		for _, a := range addresses {
			r.addresses[a] = true
		}
	}
	maps.DeleteFunc(out, func(_ socket, r *reached) bool { return r.times == 0 })
	return out
}

func (p *proposer) knownSockets() map[socket][]netip.Addr {
	out := map[socket][]netip.Addr{}
	if s := p.known.Network; s != nil {
		for i := range s.Rules {
			if socket, addresses, made := madeSocket(&s.Rules[i]); made {
				out[socket] = append(out[socket], addresses...)
			}
		}
	}
	return out
}

// manyPeers is how many addresses at one port stand for any address: pods behind a
// Service come and go.
const manyPeers = 8

func (p *proposer) network(seen []Observation) *v1alpha1.SocketSection {
	sockets := p.sockets(seen)
	section := &v1alpha1.SocketSection{Default: v1alpha1.ActionDeny}
	for _, s := range slices.SortedFunc(maps.Keys(sockets), compareSockets) {
		protocol, ok := protocolOf(s)
		if !ok {
			p.note("network: %s by %s cannot be written as a rule and would be denied", s.operation, s.protocol)
			continue
		}
		if s.port == anyPort && hasPorts(s.protocol) {
			p.note("network: %s allows every port: more than %d were seen, or one that the kernel chose", s.name(), manyPorts)
		}
		rule := v1alpha1.SocketRule{RuntimeRule: accept(s.name(), 0), Operations: []v1alpha1.SocketOperation{s.operation}}
		rule.Protocols = []v1alpha1.Protocol{protocol}
		if s.operation == v1alpha1.SocketConnect || s.operation == v1alpha1.SocketSend {
			rule.Peers = p.peers(s, sockets[s])
		}
		if sockets[s].times == 1 && !sockets[s].known {
			p.note("network: seen only once: %s", s.name())
		}
		section.Rules = append(section.Rules, rule)
	}
	return section
}

// peers names the addresses that a socket reaches; none is any.
func (p *proposer) peers(s socket, r *reached) []v1alpha1.Peer {
	switch {
	case len(r.addresses) >= manyPeers:
		p.note("network: %s reaches any address: %d were seen; name the peers by labels if they are pods", s.name(), len(r.addresses))
		return nil
	case r.any && len(r.addresses) > 0:
		p.note("network: %s reaches any address: some had none", s.name())
		return nil
	case len(r.addresses) == 0:
		return nil
	}
	var networks []v1alpha1.CIDR
	for _, a := range slices.SortedFunc(maps.Keys(r.addresses), netip.Addr.Compare) {
		networks = append(networks, v1alpha1.CIDR(netip.PrefixFrom(a, a.BitLen()).String()))
	}
	p.note("network: %s names %d addresses; name the peers by labels if they are pods", s.name(), len(networks))
	return []v1alpha1.Peer{{Networks: networks}}
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
