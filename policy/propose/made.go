package propose

import (
	"net/netip"
	"reflect"
	"strings"

	"palisade.dev/palisade/api/v1alpha1"
)

// Rules that were proposed before are known by what they say and by their names. They
// grow when more is seen; one that was renamed, narrowed or explained since is its
// author's and stays as it is.

// madeAs reports whether a rule has nothing but a name that a proposal gives.
func madeAs(r v1alpha1.RuntimeRule, name string) bool {
	rest, ok := strings.CutPrefix(string(r.Name), name)
	if number, numbered := strings.CutPrefix(rest, "-"); numbered {
		ok = ok && number != "" && strings.Trim(number, "0123456789") == ""
	} else {
		ok = ok && rest == ""
	}
	return ok && reflect.DeepEqual(r, v1alpha1.RuntimeRule{Name: r.Name, Action: v1alpha1.ActionAccept})
}

// madePaths reports whether a rule names files and directories one by one.
func madePaths(m v1alpha1.PathMatch) bool {
	return len(m.Globs) == 0 && len(m.Paths)+len(m.Directories) > 0
}

// madeExecutable is the origin that a proposed rule is about.
func madeExecutable(r *v1alpha1.ExecutableRule) (v1alpha1.Origin, bool) {
	if !madePaths(r.PathMatch) || len(r.Arguments) > 0 || len(r.Origins) > 1 {
		return "", false
	}
	origin := v1alpha1.Origin("")
	if len(r.Origins) == 1 {
		origin = r.Origins[0]
	}
	return origin, madeAs(r.RuntimeRule, originName(origin))
}

// madeFile is the use that a proposed rule is about.
func madeFile(r *v1alpha1.FileRule) (use, bool) {
	outside := len(r.Origins) == 1 && r.Origins[0] == v1alpha1.OriginOutside
	if !madePaths(r.PathMatch) || r.OwnerOnly || r.ReadOnly || len(r.Operations) == 0 || len(r.Origins) > 0 && !outside {
		return use{}, false
	}
	u := useOf(r.Operations, outside)
	return u, madeAs(r.RuntimeRule, u.name())
}

// madePrivilege is the name of a proposed rule.
func madePrivilege(r *v1alpha1.PrivilegeRule) (string, bool) {
	switch {
	case len(r.Capabilities) > 0:
		return capabilityRule, len(r.Operations) == 1 && madeAs(r.RuntimeRule, capabilityRule)
	case len(r.Operations) > 0:
		return privilegeRule, madeAs(r.RuntimeRule, privilegeRule)
	}
	return "", false
}

// madeSocket is what a proposed rule is about, and the addresses that it names; none
// is any.
func madeSocket(r *v1alpha1.SocketRule) (s socket, addresses []netip.Addr, ok bool) {
	if len(r.Operations) != 1 || len(r.Protocols) != 1 || len(r.Peers) > 1 {
		return s, nil, false
	}
	s, ok = socketOf(r.Operations[0], r.Protocols[0])
	for _, p := range r.Peers {
		if len(p.Networks) == 0 || !reflect.DeepEqual(p, v1alpha1.Peer{Networks: p.Networks}) {
			return s, nil, false
		}
		for _, n := range p.Networks {
			prefix, err := netip.ParsePrefix(string(n))
			if err != nil || !prefix.IsSingleIP() {
				return s, nil, false
			}
			addresses = append(addresses, prefix.Addr())
		}
	}
	return s, addresses, ok && madeAs(r.RuntimeRule, s.name())
}

// socketOf reads what protocolOf writes.
func socketOf(operation v1alpha1.SocketOperation, p v1alpha1.Protocol) (socket, bool) {
	for _, protocol := range []string{"tcp", "udp", "sctp", "icmp", "icmpv6"} {
		s := socket{operation: operation, protocol: protocol}
		for _, m := range []*v1alpha1.PortMatch{p.TCP, p.UDP, p.SCTP} {
			if m != nil && m.DestinationPort != nil {
				s.port = uint16(m.DestinationPort.Number) //nolint:gosec // what does not fit is another protocol below
			}
		}
		if same, ok := protocolOf(s); ok && reflect.DeepEqual(same, p) {
			return s, true
		}
	}
	return socket{}, false
}
