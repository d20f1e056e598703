package layout

import (
	"math/bits"

	"palisade.dev/palisade/bpf"
)

// section is a table's place in the image.
type section struct {
	base  uint32 // its first line
	lines uint32
}

// image is what a side should hold, and which of its lines a side has not seen.
type image struct {
	lines []bpf.Line
	sum   uint64
	// pending lists changed lines by side; whole says that all lines are.
	pending [2]map[uint32]struct{}
	whole   [2]bool

	address4   section
	address6   section
	interfaces section
	range4     section
	range6     section
	slots      section
	cells      section
	records    section
	segments   section
	rules      section

	rtHeader   section
	rtKeys     section
	rtFilter   section
	rtRows     section
	rtRulesets section
	rtSubjects section
	rtHeap     section
	rtRates    section
}

// The tables' order in the image is the order of the fields above.
func (im *image) sections() []*section {
	return []*section{
		&im.address4, &im.address6, &im.interfaces, &im.range4, &im.range6,
		&im.slots, &im.cells, &im.records, &im.segments, &im.rules,
		&im.rtHeader, &im.rtKeys, &im.rtFilter, &im.rtRows, &im.rtRulesets, &im.rtSubjects, &im.rtHeap, &im.rtRates,
	}
}

// newImage places the sections, whose sizes are set, one after the other.
func newImage(sized image) *image {
	im := sized
	next := uint32(bpf.HeaderLines)
	for _, s := range im.sections() {
		s.base = next
		next += s.lines
	}
	im.lines = make([]bpf.Line, next)
	for side := range im.pending {
		im.pending[side] = map[uint32]struct{}{}
		im.whole[side] = true
	}
	for i := range im.lines {
		im.sum ^= lineSum(uint32(i), &im.lines[i])
	}
	return &im
}

// set replaces a line and remembers it if that changes it.
func (im *image) set(i uint32, l bpf.Line) {
	if im.lines[i] == l {
		return
	}
	if i != sealLine {
		im.sum ^= lineSum(i, &im.lines[i]) ^ lineSum(i, &l)
	}
	im.lines[i] = l
	for side := range im.pending {
		if !im.whole[side] {
			im.pending[side][i] = struct{}{}
		}
	}
}

// edit changes a line in place.
func (im *image) edit(i uint32, change func(*bpf.Line)) {
	l := im.lines[i]
	change(&l)
	im.set(i, l)
}

// sealLine is the line of the seal, which the sum does not cover.
const sealLine = 2

// lineSum is one line's part in the sum of a side. Sums are combined by exclusive
// or, so that a line's change costs two of these. It guards against damage, not
// against forgery: who can write maps can write sums.
func lineSum(i uint32, l *bpf.Line) uint64 {
	if i == sealLine {
		return 0
	}
	h := spread(uint64(i) + 1)
	for _, w := range l {
		h = spread(h ^ w)
	}
	return h
}

// Sum is the sum of a side's lines, as its seal should have it.
func Sum(lines []bpf.Line) uint64 {
	var sum uint64
	for i := range lines {
		sum ^= lineSum(uint32(i), &lines[i])
	}
	return sum
}

// spread is lookup.h's function of that name.
func spread(x uint64) uint64 {
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

// powerOfTwo is the smallest power of two that is not below n, and at least 1.
func powerOfTwo(n int) uint32 {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len(uint(n-1))
}
