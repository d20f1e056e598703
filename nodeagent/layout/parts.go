package layout

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// partOf numbers a part of the address space: an index into cut.prefixes, or noPart.
type partOf int32

const noPart partOf = -1

// cut finds the part that an address lies in: the longest prefix that holds it.
type cut struct {
	prefixes []netip.Prefix
	byPrefix map[netip.Prefix]partOf
	lengths4 []int // longest first
	lengths6 []int
}

func newCut(parts map[netip.Prefix][]snapshot.GroupID) *cut {
	c := &cut{byPrefix: make(map[netip.Prefix]partOf, len(parts))}
	for p := range parts {
		c.prefixes = append(c.prefixes, p)
	}
	slices.SortFunc(c.prefixes, snapshot.ComparePrefixes)
	for i, p := range c.prefixes {
		c.byPrefix[p] = partOf(i)
		lengths := &c.lengths4
		if p.Addr().Is6() {
			lengths = &c.lengths6
		}
		if !slices.Contains(*lengths, p.Bits()) {
			*lengths = append(*lengths, p.Bits())
		}
	}
	for _, lengths := range [][]int{c.lengths4, c.lengths6} {
		slices.Sort(lengths)
		slices.Reverse(lengths)
	}
	return c
}

func (c *cut) find(a netip.Addr) partOf {
	lengths := c.lengths4
	if a.Is6() {
		lengths = c.lengths6
	}
	for _, n := range lengths {
		p, err := a.Prefix(n)
		if err != nil {
			continue
		}
		if i, ok := c.byPrefix[p]; ok {
			return i
		}
	}
	return noPart
}

// The addresses that stand for groups of receivers.
var groupRanges = []netip.Prefix{
	netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("ff00::/8"),
}

// interval is a run of addresses, up to the next interval's start, with one value.
type interval struct {
	start bpf.Key6
	value uint32
}

// intervals cuts one family's addresses into runs of equal value, for addresses
// that the exact tables do not hold.
func intervals(v6 bool, c *cut, pods []netip.Prefix, class func(partOf) uint32) []interval {
	groups := slices.Clone(groupRanges)
	for _, p := range pods {
		if b, ok := broadcast(p); ok {
			groups = append(groups, netip.PrefixFrom(b, b.BitLen()))
		}
	}
	zero := netip.IPv4Unspecified()
	if v6 {
		zero = netip.IPv6Unspecified()
	}
	starts := []netip.Addr{zero}
	for _, list := range [][]netip.Prefix{c.prefixes, pods, groups} {
		for _, p := range list {
			if p.Addr().Is6() != v6 {
				continue
			}
			starts = append(starts, p.Addr())
			if after := last(p).Next(); after.IsValid() {
				starts = append(starts, after)
			}
		}
	}
	slices.SortFunc(starts, netip.Addr.Compare)
	var out []interval
	for _, a := range slices.Compact(starts) {
		value := bpf.PeerKnown | class(c.find(a))
		switch {
		case holds(groups, a):
			value |= bpf.PeerGroup
		case holds(pods, a):
			value |= bpf.PeerUnbound
		}
		if n := len(out); n > 0 && out[n-1].value == value {
			continue
		}
		out = append(out, interval{KeyOf(a), value})
	}
	return out
}

func holds(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// broadcast is the last address of an IPv4 range that is a network of several hosts.
func broadcast(p netip.Prefix) (netip.Addr, bool) {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}, false
	}
	return last(p), true
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|^uint32(0)>>p.Bits())
		return netip.AddrFrom4(b)
	}
	b := p.Addr().As16()
	for i := p.Bits(); i < 128; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(b)
}

// KeyOf is an address as the kernel's tables have it.
func KeyOf(a netip.Addr) bpf.Key6 {
	if a.Is4() {
		b := a.As4()
		return bpf.Key6{Low: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return bpf.Key6{High: binary.BigEndian.Uint64(b[:8]), Low: binary.BigEndian.Uint64(b[8:])}
}
