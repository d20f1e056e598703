package layout

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// room adds a quarter and a little to n, so that growth is rare.
func room(n, little int) int { return n + n/4 + little }

func linesFor(n, perLine int) uint32 { return uint32((n + perLine - 1) / perLine) }

// sizes are the sections' sizes with room to grow, by what there is now.
func (l *Layout) sizes() image {
	var v4, v6, local int
	for a := range l.store.addresses {
		if a.Is4() {
			v4++
		} else {
			v6++
		}
	}
	for a := range l.store.facts {
		local++
		if a.Is4() {
			v4++
		} else {
			v6++
		}
	}
	for uid := range l.store.locals {
		local += len(l.store.byUID[uid])
	}
	long := 0
	for i := 1; i < len(l.n.records); i++ {
		if l.n.records[i].used {
			long += int(longLines(l.store.programs[l.n.records[i].id]))
		}
	}
	var im image
	im.address4.lines = powerOfTwo((v4*10 + 55) / 56) // at most 0.7 full
	im.address6.lines = powerOfTwo((v6*10 + 17) / 18) // at most 0.6 full
	im.interfaces.lines = powerOfTwo((local*10 + 39) / 40)
	im.range4.lines = linesFor(room(len(l.intervals(false)), 0), 8)
	im.range6.lines = linesFor(room(len(l.intervals(true)), 0), 3)
	im.slots.lines = linesFor(room(local, 16), 4)
	im.cells.lines = uint32(room(len(l.n.rows), 4)) * l.wantStride()
	im.records.lines = uint32(room(len(l.n.records), 4))
	im.segments.lines = uint32(room(long, 8))
	im.rules.lines = linesFor(int(bpf.RuleFirst)+room(len(l.n.rules.ids), 16), 4)
	l.runtimeSizes(&im)
	return im
}

// wantStride is the lines of a row, with room for classes to come.
func (l *Layout) wantStride() uint32 { return linesFor(room(len(l.n.classes), 8), 32) }

func (l *Layout) checkSize(sized image) error {
	total := bpf.HeaderLines
	for _, s := range sized.sections() {
		total += int(s.lines)
	}
	if total > l.options.MaxLines {
		return fmt.Errorf("tables of the node: %w: %d lines of %d bytes (addresses %d, cells %d, records %d, segments %d, runtime rows %d, runtime clauses %d), at most %d",
			ErrCapacity, total, bpf.LineSize, sized.address4.lines+sized.address6.lines, sized.cells.lines,
			sized.records.lines, sized.segments.lines, sized.rtRows.lines+sized.rtFilter.lines, sized.rtHeap.lines, l.options.MaxLines)
	}
	return nil
}

// fits reports whether the present image has room for the numbers given out.
func (l *Layout) fits() bool {
	return uint32(len(l.n.classes)) <= l.stride()*32 &&
		uint32(len(l.n.rows))*l.stride() <= l.im.cells.lines &&
		uint32(len(l.n.records)) <= l.im.records.lines &&
		linesFor(int(bpf.RuleFirst)+len(l.n.rules.ids), 4) <= l.im.rules.lines &&
		linesFor(len(l.intervals(false)), 8) <= l.im.range4.lines &&
		linesFor(len(l.intervals(true)), 3) <= l.im.range6.lines &&
		l.runtimeFits()
}

func (l *Layout) stride() uint32 { return l.im.lines[0].Header().Stride }

// maxReseeds bounds how often a rebuild tries another seed.
const maxReseeds = 8

// rebuild makes the image anew, with room for what there is. A crowded table gets
// another seed, then twice the lines.
func (l *Layout) rebuild() error {
	sized := l.sizes()
	for try := range maxReseeds {
		if try > 0 {
			l.seed = uint32(spread(uint64(l.seed)+uint64(try)) >> 32)
		}
		if try > 2 {
			sized.address4.lines *= 2
			sized.address6.lines *= 2
			sized.interfaces.lines *= 2
		}
		if try > 0 {
			sized.rtRows.lines *= 2
			sized.rtFilter.lines *= 2
			sized.rtHeap.lines *= 2
		}
		if err := l.checkSize(sized); err != nil {
			return err
		}
		if err := l.fill(sized); err == nil {
			return nil
		}
	}
	return fmt.Errorf("addresses: %w: no place after %d seeds", ErrCapacity, maxReseeds)
}

func (l *Layout) fill(sized image) error {
	stride := l.wantStride()
	l.forget()
	l.im = newImage(sized)
	l.extents = newExtents(l.im.segments.lines)
	l.resetRuntime()
	l.im.edit(0, func(line *bpf.Line) { line.Header().Stride = stride })
	if err := l.emitPolicy(nil, nil); err != nil {
		return err
	}
	all := map[netip.Addr]struct{}{}
	for a := range l.store.addresses {
		all[a] = struct{}{}
	}
	for a := range l.store.facts {
		all[a] = struct{}{}
	}
	if err := l.placeAll(all); err != nil {
		return err
	}
	if err := l.placePorts(); err != nil {
		return err
	}
	return l.placeRuntime(nil)
}

// emitPolicy writes records, rows, ranges, and the names and rates of rules. Lines that do not
// change cost nothing on a side.
func (l *Layout) emitPolicy(c *changes, old *numbers) error {
	if err := l.emitRecords(c, old); err != nil {
		return err
	}
	l.emitRows()
	l.emitRanges()
	for first := 0; first < len(l.n.rules.ids); first += 4 {
		var line bpf.Line
		for i := range 4 {
			if first+i < len(l.n.rules.ids) {
				line.Rules().ID[i] = l.n.rules.ids[first+i]
			}
		}
		l.im.set(l.im.rules.base+uint32(int(bpf.RuleFirst)+first)/4, line)
	}
	l.emitRates()
	return nil
}

func (l *Layout) emitRows() {
	for i := range l.n.rows {
		records := l.n.rows[i].records
		for n := range l.stride() {
			var line bpf.Line
			for j := range 32 {
				if k := int(n)*32 + j; k < len(records) {
					line.Cells().Record[j] = records[k]
				}
			}
			l.im.set(l.im.cells.base+uint32(i)*l.stride()+n, line)
		}
	}
}

// inlineSegments is how many segments a record has room for.
const inlineSegments = 3

func longLines(p snapshot.ProgramRow) uint32 {
	if len(p.Segments) <= inlineSegments {
		return 0
	}
	return linesFor(len(p.Segments), 4)
}

// emitRecords writes the port programs. A record that stays keeps its place.
func (l *Layout) emitRecords(c *changes, old *numbers) error {
	var broken bpf.Line
	broken.Record().Answer = bpf.Answer{Enforced: uint32(bpf.RuleBroken) | bpf.WordDeny, Staged: uint32(bpf.RuleBroken) | bpf.WordDeny}
	l.im.set(l.im.records.base, broken)
	if old != nil {
		for i := 1; i < len(old.records); i++ {
			id := old.records[i].id
			if i >= len(l.n.records) || l.n.records[i].id != id || c.programs[id] {
				l.extents.release(uint16(i))
			}
		}
	}
	for i := 1; i < len(l.n.records); i++ {
		line := broken
		if l.n.records[i].used {
			var err error
			if line, err = l.recordLine(uint16(i), l.store.programs[l.n.records[i].id]); err != nil {
				return err
			}
		}
		l.im.set(l.im.records.base+uint32(i), line)
	}
	return nil
}

func (l *Layout) recordLine(number uint16, p snapshot.ProgramRow) (bpf.Line, error) {
	var line bpf.Line
	r := line.Record()
	r.Answer = l.n.answer(p.Default)
	r.Segments = uint32(len(p.Segments))
	if len(p.Segments) <= inlineSegments {
		for i := range r.Segment {
			r.Segment[i] = emptySegment
		}
		for i, s := range p.Segments {
			r.Segment[i] = l.segment(s)
		}
		return line, nil
	}
	offset, ok := l.extents.take(number, longLines(p))
	if !ok {
		return line, errFull
	}
	r.Offset = offset
	for n := range longLines(p) {
		var segments bpf.Line
		for i := range 4 {
			k := int(n)*4 + i
			segments.Segments().Segment[i] = emptySegment
			if k < len(p.Segments) {
				segments.Segments().Segment[i] = l.segment(p.Segments[k])
			}
		}
		l.im.set(l.im.segments.base+offset+n, segments)
	}
	return line, nil
}

// emptySegment holds no port.
var emptySegment = bpf.Segment{Low: ^uint32(0)}

func (l *Layout) segment(s snapshot.Segment) bpf.Segment {
	proto := uint32(s.Proto) << 16
	return bpf.Segment{Low: proto | uint32(s.Lo), High: proto | uint32(s.Hi), Answer: l.n.answer(s.Answer)}
}

// intervals are the runs of addresses that no exact table holds.
func (l *Layout) intervals(v6 bool) []interval {
	return intervals(v6, l.n.cut, l.store.meta.PodRanges, func(p partOf) uint32 {
		c := combo{kind: snapshot.WorldKind}
		if p != noPart {
			c.part = l.n.cut.prefixes[p]
		}
		return l.n.combos[c]
	})
}

func (l *Layout) emitRanges() {
	list := l.intervals(false)
	for n := range l.im.range4.lines {
		var line bpf.Line
		for i := range 8 {
			// Past the end stands the last address of all, whose value is the last one's.
			e := bpf.Entry4{Key: ^uint32(0), Value: list[len(list)-1].value}
			if k := int(n)*8 + i; k < len(list) {
				e = bpf.Entry4{Key: uint32(list[k].start.Low), Value: list[k].value}
			}
			line.Bucket4().Entry[i] = e
		}
		l.im.set(l.im.range4.base+n, line)
	}
	list = l.intervals(true)
	for n := range l.im.range6.lines {
		var line bpf.Line
		b := line.Bucket6()
		for i := range 3 {
			b.Key[i], b.Value[i] = bpf.Key6{High: ^uint64(0), Low: ^uint64(0)}, list[len(list)-1].value
			if k := int(n)*3 + i; k < len(list) {
				b.Key[i], b.Value[i] = list[k].start, list[k].value
			}
		}
		l.im.set(l.im.range6.base+n, line)
	}
}

// compareAddrs orders addresses, so that no order of a map reaches the image.
func sortedAddrs(set map[netip.Addr]struct{}) []netip.Addr {
	return slices.SortedFunc(maps.Keys(set), netip.Addr.Compare)
}

// emitHeader writes what changes with every update.
func (l *Layout) emitHeader() {
	im := l.im
	im.edit(0, func(line *bpf.Line) {
		*line.Header() = bpf.Header{
			Counter: l.generation.Counter, Epoch: l.generation.Epoch, Term: l.generation.Term,
			Address4Base: im.address4.base, Address4Mask: im.address4.lines - 1,
			Address6Base: im.address6.base, Address6Mask: im.address6.lines - 1,
			SlotBase: im.slots.base, CellBase: im.cells.base, Stride: l.stride(),
			RecordBase: im.records.base, SegmentBase: im.segments.base,
			Flags: l.flags(), Seed: l.seed, InterfaceBase: im.interfaces.base,
		}
	})
	im.edit(1, func(line *bpf.Line) {
		*line.Edges() = bpf.Edges{
			Range4Base: im.range4.base, Range4Lines: im.range4.lines,
			Range6Base: im.range6.base, Range6Lines: im.range6.lines,
			InterfaceMask: im.interfaces.lines - 1,
			RuleBase:      im.rules.base, RuleLines: im.rules.lines,
			Reserved: [4]uint64{uint64(im.rtHeader.base)},
		}
	})
	l.emitRuntimeHeader()
	im.edit(sealLine, func(line *bpf.Line) {
		*line.Seal() = bpf.Seal{Format: bpf.Format, Lines: uint32(len(im.lines)), Sum: im.sum, Digest: l.digest}
	})
}

// flags of a side: what must be denied beyond what rows say.
func (l *Layout) flags() uint32 {
	var flags uint32
	for uid, pod := range l.store.locals {
		s := l.store.subjects[pod.Kind]
		ingress, egress := l.isolated(s.Ingress), l.isolated(s.Egress)
		if ingress {
			flags |= bpf.SideDenyGroups
		}
		if l.counts[uid] > 0 || l.options.Unbound != UnboundAuto {
			continue
		}
		if ingress {
			flags |= bpf.SideDenyUnboundIngress
		}
		if egress {
			flags |= bpf.SideDenyUnboundEgress
		}
	}
	if l.options.Unbound == UnboundAuto && l.store.stranger() {
		// Nobody says yet what protects it; what it opens itself is let be, or a
		// controller's own pod could not start and say so.
		flags |= bpf.SideDenyUnboundIngress
	}
	if l.options.Unbound == UnboundDeny {
		flags |= bpf.SideDenyUnboundIngress | bpf.SideDenyUnboundEgress
	}
	return flags
}

func (l *Layout) isolated(id snapshot.RulesetID) bool {
	i, ok := l.n.rowIDs[id]
	return ok && l.n.rows[i].isolated
}

// extent is a run of lines of the segments' table.
type extent struct{ first, lines uint32 }

// extents gives out runs of lines, first fit.
type extents struct {
	free   []extent // sorted, no two touch
	holder map[uint16]extent
}

func newExtents(lines uint32) *extents {
	return &extents{free: []extent{{0, lines}}, holder: map[uint16]extent{}}
}

// take returns the run that a record has, or a new one.
func (e *extents) take(record uint16, lines uint32) (uint32, bool) {
	if x, ok := e.holder[record]; ok {
		return x.first, true
	}
	for i := range e.free {
		f := &e.free[i]
		if f.lines < lines {
			continue
		}
		x := extent{f.first, lines}
		e.holder[record] = x
		f.first += lines
		f.lines -= lines
		if f.lines == 0 {
			e.free = slices.Delete(e.free, i, i+1)
		}
		return x.first, true
	}
	return 0, false
}

func (e *extents) release(record uint16) {
	x, ok := e.holder[record]
	if !ok {
		return
	}
	delete(e.holder, record)
	e.free = append(e.free, x)
	slices.SortFunc(e.free, func(a, b extent) int { return cmp.Compare(a.first, b.first) })
	merged := e.free[:1]
	for _, f := range e.free[1:] {
		if last := &merged[len(merged)-1]; last.first+last.lines == f.first {
			last.lines += f.lines
		} else {
			merged = append(merged, f)
		}
	}
	e.free = merged
}
