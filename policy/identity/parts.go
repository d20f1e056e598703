package identity

import (
	"net/netip"
	"slices"
)

// Area is a set of addresses: ranges less some parts of them. A range of Out
// takes away from every range of In that holds it, and nothing in In gives back
// what lies inside an Out.
type Area struct {
	In  []netip.Prefix
	Out []netip.Prefix
}

// Part is the set of addresses whose longest match among the prefixes of all
// parts is Prefix. Areas are the areas that hold them, by place, sorted.
type Part struct {
	Prefix netip.Prefix
	Areas  []int32
}

// Partition cuts the address space by areas. Parts are sorted by prefix; a part
// that would say no more than the part around it, or than no part at all, is
// left out. Parts with equal areas may share the slice.
func Partition(areas []Area) []Part {
	cuts := cutsOf(areas)
	var out []Part
	var around []Part // the parts that hold the current prefix, outermost first
	for len(cuts) > 0 {
		prefix := cuts[0].prefix
		n := 1
		for n < len(cuts) && cuts[n].prefix == prefix {
			n++
		}
		for len(around) > 0 && !holds(around[len(around)-1].Prefix, prefix) {
			around = around[:len(around)-1]
		}
		var outer []int32
		if len(around) > 0 {
			outer = around[len(around)-1].Areas
		}
		here := cut(outer, cuts[:n])
		cuts = cuts[n:]
		if slices.Equal(here, outer) {
			continue
		}
		p := Part{Prefix: prefix, Areas: here}
		around = append(around, p)
		out = append(out, p)
	}
	return out
}

// edge says that an area begins or ends to hold at a prefix.
type edge struct {
	prefix netip.Prefix
	area   int32
	out    bool
}

func cutsOf(areas []Area) []edge {
	n := 0
	for i := range areas {
		n += len(areas[i].In) + len(areas[i].Out)
	}
	cuts := make([]edge, 0, n)
	for i := range areas {
		for _, p := range areas[i].In {
			cuts = append(cuts, edge{prefix: p, area: int32(i)})
		}
		for _, p := range areas[i].Out {
			cuts = append(cuts, edge{prefix: p, area: int32(i), out: true})
		}
	}
	slices.SortFunc(cuts, func(a, b edge) int {
		if c := ComparePrefixes(a.prefix, b.prefix); c != 0 {
			return c
		}
		if a.area != b.area {
			return int(a.area) - int(b.area)
		}
		switch { // what is taken away comes last and so decides
		case a.out == b.out:
			return 0
		case b.out:
			return -1
		}
		return 1
	})
	return cuts
}

// cut merges the areas of the part around with what begins and ends here.
func cut(outer []int32, edges []edge) []int32 {
	out := make([]int32, 0, len(outer)+len(edges))
	for len(outer) > 0 || len(edges) > 0 {
		if len(edges) == 0 || len(outer) > 0 && outer[0] < edges[0].area {
			out = append(out, outer[0])
			outer = outer[1:]
			continue
		}
		area := edges[0].area
		if len(outer) > 0 && outer[0] == area {
			outer = outer[1:]
		}
		ends := false
		for len(edges) > 0 && edges[0].area == area {
			ends = edges[0].out
			edges = edges[1:]
		}
		if !ends {
			out = append(out, area)
		}
	}
	return out
}

func holds(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// ComparePrefixes orders prefixes: IPv4 first, then by address, then the shorter
// first, so that a prefix comes before those inside it.
func ComparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
