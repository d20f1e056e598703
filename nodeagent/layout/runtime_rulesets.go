package layout

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"palisade.dev/palisade/bpf"
)

// blockOf is a prefix as match.h compares it.
func blockOf(p netip.Prefix, except uint32) bpf.RuntimeBlock {
	p = p.Masked()
	b := bpf.RuntimeBlock{Address: KeyOf(p.Addr()), Bits: uint32(p.Bits()), Family: uint32(bpf.FamilyIPv6), Except: except}
	if p.Addr().Is4() {
		b.Bits, b.Family = b.Bits+96, uint32(bpf.FamilyIPv4)
	}
	return b
}

// placeClauses puts clauses on the heap.
func (l *Layout) placeClauses(clauses []bpf.RuntimeClause) (run, error) {
	r, ok := l.runtime.heap.take(uint32(len(clauses)))
	if !ok {
		return run{}, fmt.Errorf("clauses of runtime rules: %w", errFull)
	}
	for i := range clauses {
		var line bpf.Line
		*line.RuntimeClause() = clauses[i]
		if i == 0 {
			line.RuntimeClause().Count = uint32(len(clauses))
		}
		l.im.set(l.im.rtHeap.base+r.first+uint32(i), line)
	}
	return r, nil
}

// placeRuleset writes the lines of a rule set in place of those that its number had
// before, if it had any. What both say the same way stays where it is.
func (l *Layout) placeRuleset(r *compiled) error {
	old := l.runtime.rulesets[r.number]
	for _, x := range slices.Backward(old.runs) {
		l.runtime.heap.give(x)
	}
	p := placedRuleset{rules: r, clauses: map[string]run{}}
	head := r.head
	for section, clauses := range r.any {
		if len(clauses) == 0 {
			continue
		}
		x, err := l.placeClauses(clauses)
		if err != nil {
			return err
		}
		p.runs = append(p.runs, x)
		head.Any[section] = x.first + 1
	}
	var err error
	if head.Network, err = l.placePeers(r.peers, &p.runs); err != nil {
		return err
	}
	if head.Slots, err = l.placeSlots(r.slots, &p.runs); err != nil {
		return err
	}
	if err := l.placeObjects(&p, &old); err != nil {
		return err
	}
	first := l.im.rtRulesets.base + r.number*bpf.RuntimeRulesetLines
	var line bpf.Line
	*line.RuntimeRuleset() = head
	l.im.set(first, line)
	for i, lengths := range r.lengths {
		var line bpf.Line
		copy(line.RuntimeLengths().Length[:], lengths)
		l.im.set(first+1+uint32(i), line)
	}
	l.runtime.rulesets[r.number] = p
	return nil
}

// placeObjects writes the rows of a rule set, and takes those of its predecessor out.
func (l *Layout) placeObjects(p, old *placedRuleset) error {
	objects := p.rules.objects
	for i := range objects {
		if objects[i].simple != 0 {
			continue
		}
		content := clauseBytes(objects[i].clauses)
		if _, ok := p.clauses[content]; ok {
			continue
		}
		x, ok := old.clauses[content]
		if !ok {
			var err error
			if x, err = l.placeClauses(objects[i].clauses); err != nil {
				return err
			}
		}
		p.clauses[content] = x
	}
	want := make(map[bpf.Key6]uint32, p.rules.rows())
	for i := range objects {
		want[objects[i].key] = p.value(&objects[i])
	}
	for _, f := range p.rules.from {
		want[f.key] = f.value
	}
	have := map[bpf.Key6]uint32{}
	if old.rules != nil {
		for i := range old.rules.objects {
			o := &old.rules.objects[i]
			have[o.key] = old.value(o)
		}
		for _, f := range old.rules.from {
			have[f.key] = f.value
		}
		old.eachKey(func(key bpf.Key6) {
			if _, ok := want[key]; !ok {
				l.dropRow(key)
			}
		})
	}
	if err := p.eachKeyErr(func(key bpf.Key6) error {
		value, had := have[key]
		if had && value == want[key] {
			return nil
		}
		return l.putRow(key, want[key], had)
	}); err != nil {
		return err
	}
	for _, content := range slices.Sorted(maps.Keys(old.clauses)) {
		if _, ok := p.clauses[content]; !ok {
			l.runtime.heap.give(old.clauses[content])
		}
	}
	return nil
}

// eachKey visits the keys of a rule set's rows, in an order that depends on nothing but them.
func (p *placedRuleset) eachKey(visit func(bpf.Key6)) {
	for i := range p.rules.objects {
		visit(p.rules.objects[i].key)
	}
	for _, f := range p.rules.from {
		visit(f.key)
	}
}

func (p *placedRuleset) eachKeyErr(visit func(bpf.Key6) error) error {
	var err error
	p.eachKey(func(key bpf.Key6) {
		if err == nil {
			err = visit(key)
		}
	})
	return err
}

// placeSlots puts the slots of simple rows on the heap.
func (l *Layout) placeSlots(slots []uint32, runs *[]run) (uint32, error) {
	if len(slots) == 0 {
		return 0, nil
	}
	r, ok := l.runtime.heap.take(linesFor(len(slots), 16))
	if !ok {
		return 0, fmt.Errorf("slots of runtime rules: %w", errFull)
	}
	*runs = append(*runs, r)
	for at := 0; at < len(slots); at += 16 {
		var line bpf.Line
		copy(line.RuntimeSlots().Slot[:], slots[at:])
		l.im.set(l.im.rtHeap.base+r.first+uint32(at/16), line)
	}
	return r.first, nil
}

// placePeers puts the rules about peers on the heap: their clauses one after the
// other, and their lists elsewhere.
func (l *Layout) placePeers(peers []peerClause, runs *[]run) (uint32, error) {
	take := func(n uint32) (uint32, bool) {
		if n == 0 {
			return 0, true
		}
		r, ok := l.runtime.heap.take(n)
		*runs = append(*runs, r)
		return r.first, ok
	}
	errNoRoom := fmt.Errorf("peers of runtime rules: %w", errFull)
	first, ok := take(uint32(len(peers)))
	if !ok {
		return 0, errNoRoom
	}
	for i, p := range peers {
		clause := p.clause
		if clause.Blocks, ok = take(linesFor(len(p.blocks), 2)); !ok {
			return 0, errNoRoom
		}
		for at := 0; at < len(p.blocks); at += 2 {
			var line bpf.Line
			copy(line.RuntimeBlocks().Block[:], p.blocks[at:])
			l.im.set(l.im.rtHeap.base+clause.Blocks+uint32(at/2), line)
		}
		if clause.Ports, ok = take(linesFor(len(p.ports), 8)); !ok {
			return 0, errNoRoom
		}
		for at := 0; at < len(p.ports); at += 8 {
			var line bpf.Line
			copy(line.RuntimePorts().Port[:], p.ports[at:])
			l.im.set(l.im.rtHeap.base+clause.Ports+uint32(at/8), line)
		}
		var line bpf.Line
		*line.RuntimePeerClause() = clause
		l.im.set(l.im.rtHeap.base+first+uint32(i), line)
	}
	return first, nil
}

// removeRuleset takes a rule set out.
func (l *Layout) removeRuleset(number uint32, p placedRuleset) {
	p.eachKey(l.dropRow)
	for _, content := range slices.Sorted(maps.Keys(p.clauses)) {
		l.runtime.heap.give(p.clauses[content])
	}
	for _, r := range slices.Backward(p.runs) {
		l.runtime.heap.give(r)
	}
	delete(l.runtime.rulesets, number)
	for i := range uint32(bpf.RuntimeRulesetLines) {
		l.im.set(l.im.rtRulesets.base+number*bpf.RuntimeRulesetLines+i, bpf.Line{})
	}
}
