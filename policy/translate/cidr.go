package translate

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"palisade.dev/palisade/policy/model"
)

// cidr reads a CIDR of one of our kinds, which has one form only.
func (p *problems) cidr(at *field.Path, s string) (netip.Prefix, bool) {
	c, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		p.add(at, "write an address without leading zeros and a prefix length, for example 10.20.0.0/16 or fd00:20::/64", "%q is no CIDR", s)
	case c.Addr().Is4In6():
		p.add(at, "write it as plain IPv4", "%q is an IPv4-mapped IPv6 range", s)
	case c != c.Masked():
		p.add(at, "write "+c.Masked().String()+", or lengthen the prefix", "%q has bits set after the prefix length", s)
	default:
		return c, true
	}
	return netip.Prefix{}, false
}

// looseCIDR reads a CIDR of upstream's NetworkPolicy, whose API server has long
// accepted leading zeros, bits after the prefix and IPv4-mapped forms. They mean
// here what they mean there: decimal octets, the bits cleared.
func (p *problems) looseCIDR(at *field.Path, s string) (netip.Prefix, bool) {
	_, ipnet, err := netutils.ParseCIDRSloppy(s)
	if err != nil {
		p.add(at, "write an address and a prefix length, for example 10.20.0.0/16 or fd00:20::/64", "%q is no CIDR", s)
		return netip.Prefix{}, false
	}
	addr, _ := netip.AddrFromSlice(ipnet.IP)
	bits, size := ipnet.Mask.Size()
	if addr.Is4In6() && size == 128 && bits >= 96 {
		bits -= 96
	}
	return netip.PrefixFrom(addr.Unmap(), bits).Masked(), true
}

// block builds a block from its parts, as parse reads them.
func (p *problems) block(at *field.Path, cidr string, except []string, parse func(*field.Path, string) (netip.Prefix, bool)) (model.Peer, bool) {
	c, ok := parse(at.Child("cidr"), cidr)
	b := model.Block{CIDR: c}
	for i, s := range except {
		where := at.Child("except").Index(i)
		e, parsed := parse(where, s)
		switch {
		case !parsed:
			ok = false
		case !c.IsValid():
		case e.Addr().BitLen() != c.Addr().BitLen() || e.Bits() <= c.Bits() || !c.Contains(e.Addr()):
			p.add(where, "remove the entry, or widen cidr", "%s does not lie inside %s as a smaller range", s, cidr)
			ok = false
		default:
			b.Except = append(b.Except, e)
		}
	}
	slices.SortFunc(b.Except, comparePrefixes)
	b.Except = slices.Compact(b.Except)
	return model.Peer{Kind: model.PeerBlock, Block: b}, ok
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// address reads the address of an endpoint.
func (p *problems) address(at *field.Path, s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		p.add(at, "write an IPv4 or IPv6 address", "%q is no IP address", s)
		return a, false
	}
	return a.Unmap().WithZone(""), true
}

func sortedAddrs(list []netip.Addr) []netip.Addr {
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}
