package layout

import (
	"fmt"
	"maps"
	"slices"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// run is a piece of the heap.
type run struct{ first, lines uint32 }

// heap gives out runs of lines; what is given back serves runs of the same length.
type heap struct {
	lines uint32
	next  uint32
	free  map[uint32][]uint32
}

func (h *heap) take(lines uint32) (run, bool) {
	if list := h.free[lines]; len(list) > 0 {
		h.free[lines] = list[:len(list)-1]
		return run{list[len(list)-1], lines}, true
	}
	if lines > h.lines-h.next {
		return run{}, false
	}
	h.next += lines
	return run{h.next - lines, lines}, true
}

func (h *heap) give(r run) {
	if r.lines > 0 {
		h.free[r.lines] = append(h.free[r.lines], r.first)
	}
}

// placedRuleset is what the image holds of a rule set.
type placedRuleset struct {
	rules   *compiled
	runs    []run          // of the rules about any object and about peers, and of slots
	clauses map[string]run // by content
}

// value is the value of the row of an object.
func (p *placedRuleset) value(o *object) uint32 {
	if o.simple != 0 {
		return o.simple
	}
	return p.clauses[clauseBytes(o.clauses)].first + 1
}

// placedKind is what the image holds about pods of a kind.
type placedKind struct {
	list       run
	containers map[bpf.Key6]uint32
}

// runtimeTables is what the image holds of runtime rules.
type runtimeTables struct {
	heap     heap
	bits     []uint8 // how many rows set a bit of the filter
	rulesets map[uint32]placedRuleset
	kinds    map[uint32]placedKind
	pods     map[bpf.Key6]uint32
	rows     int
}

// reset empties the tables, whose places in the image are known.
func (l *Layout) resetRuntime() {
	l.runtime = &runtimeTables{
		heap:     heap{lines: l.im.rtHeap.lines, free: map[uint32][]uint32{}},
		bits:     make([]uint8, uint64(l.im.rtFilter.lines)*512),
		rulesets: map[uint32]placedRuleset{},
		kinds:    map[uint32]placedKind{},
		pods:     map[bpf.Key6]uint32{},
	}
	for i := range l.secret {
		l.im.set(l.im.rtKeys.base+uint32(i), l.secret[i])
	}
}

// fingerprints is the table of rows: keys are random words already.
type fingerprints struct{ bucket6 }

func (fingerprints) hash(key bpf.Key6, _ uint32) uint64 { return key.Low }

func (l *Layout) rowTable() table[bpf.Key6, fingerprints] {
	return table[bpf.Key6, fingerprints]{im: l.im, at: l.im.rtRows, firm: true}
}

// filterBits are the word of the filter that a key has, and its three bits.
func (l *Layout) filterBits(key bpf.Key6) (word uint32, bits [3]uint32) {
	word = uint32(key.High) & (l.im.rtFilter.lines*8 - 1)
	return word, [3]uint32{uint32(key.High >> 58), uint32(key.High >> 52 & 63), uint32(key.High >> 46 & 63)}
}

func (l *Layout) setFilter(word, bit uint32, on bool) {
	l.im.edit(l.im.rtFilter.base+word/8, func(line *bpf.Line) {
		if on {
			line[word%8] |= 1 << bit
		} else {
			line[word%8] &^= 1 << bit
		}
	})
}

// putRow sets a row; had says that it is there already.
func (l *Layout) putRow(key bpf.Key6, value uint32, had bool) error {
	if !had {
		word, bits := l.filterBits(key)
		for _, bit := range bits {
			count := &l.runtime.bits[word*64+bit]
			if *count == ^uint8(0) {
				return fmt.Errorf("filter of runtime rows: %w", errFull)
			}
			if *count++; *count == 1 {
				l.setFilter(word, bit, true)
			}
		}
		l.runtime.rows++
	}
	return l.rowTable().put(key, value)
}

func (l *Layout) dropRow(key bpf.Key6) {
	l.rowTable().remove(key)
	word, bits := l.filterBits(key)
	for _, bit := range bits {
		count := &l.runtime.bits[word*64+bit]
		if *count--; *count == 0 {
			l.setFilter(word, bit, false)
		}
	}
	l.runtime.rows--
}

// placeRuntime brings the image up to date about runtime rules. Without changes, or
// after a change of policy, everything is compared; else only the given pods are.
func (l *Layout) placeRuntime(c *changes) error {
	if c != nil && !c.policy {
		return l.placePods(slices.Sorted(maps.Keys(c.uids)))
	}
	n := l.n
	for _, number := range slices.Sorted(maps.Keys(l.runtime.rulesets)) {
		p := l.runtime.rulesets[number]
		if int(number) >= len(n.runtimeSets) || n.runtimeSets[number].rules == nil {
			l.removeRuleset(number, p)
		}
	}
	for number := range n.runtimeSets {
		r := n.runtimeSets[number].rules
		if r == nil || l.runtime.rulesets[uint32(number)].rules == r {
			continue
		}
		if err := l.placeRuleset(r); err != nil {
			return err
		}
	}
	if err := l.placeKinds(); err != nil {
		return err
	}
	uids := map[string]struct{}{}
	for uid := range l.store.locals {
		uids[uid] = struct{}{}
	}
	for uid := range l.store.runtime.pods {
		uids[uid] = struct{}{}
	}
	keep := make(map[bpf.Key6]struct{}, len(uids))
	for uid := range uids {
		keep[l.podRow(uid)] = struct{}{}
	}
	for _, key := range slices.SortedFunc(maps.Keys(l.runtime.pods), compareKeys) {
		if _, ok := keep[key]; !ok {
			l.dropRow(key)
			delete(l.runtime.pods, key)
		}
	}
	return l.placePods(slices.Sorted(maps.Keys(uids)))
}

func (l *Layout) podRow(uid string) bpf.Key6 {
	return l.secret.words(bpf.RuntimeKeyPod, 0, PodKey(uid))
}

// placePods sets or removes the rows of pods: the number of their kind, plus one.
// Those that leave go first, so that two UIDs of one cgroup's name do no harm.
func (l *Layout) placePods(uids []string) error {
	for _, uid := range uids {
		if _, ok := l.store.runtimeKind(uid); ok {
			continue
		}
		if key := l.podRow(uid); l.runtime.pods[key] != 0 {
			l.dropRow(key)
			delete(l.runtime.pods, key)
		}
	}
	for _, uid := range uids {
		kind, ok := l.store.runtimeKind(uid)
		if !ok {
			continue
		}
		// Number 0 is the kind without rules.
		key, value := l.podRow(uid), l.n.runtimeKinds[kind]+1
		have := l.runtime.pods[key]
		if have == value {
			continue
		}
		if err := l.putRow(key, value, have != 0); err != nil {
			return err
		}
		l.runtime.pods[key] = value
	}
	return nil
}

// placeKinds writes what pods of each kind have.
func (l *Layout) placeKinds() error {
	wanted := map[uint32]snapshot.KindID{}
	for kind, number := range l.n.runtimeKinds {
		wanted[number] = kind
	}
	for _, number := range slices.Sorted(maps.Keys(l.runtime.kinds)) {
		if _, ok := wanted[number]; !ok {
			p := l.runtime.kinds[number]
			for _, key := range slices.SortedFunc(maps.Keys(p.containers), compareKeys) {
				l.dropRow(key)
			}
			l.runtime.heap.give(p.list)
			delete(l.runtime.kinds, number)
			l.im.set(l.im.rtSubjects.base+number, bpf.Line{})
		}
	}
	for _, number := range slices.Sorted(maps.Keys(wanted)) {
		if err := l.placeKind(number, l.store.runtime.subjects[wanted[number]]); err != nil {
			return err
		}
	}
	return nil
}

func (l *Layout) placeKind(number uint32, containers map[string]snapshot.RulesetID) error {
	p := l.runtime.kinds[number]
	defer func() { l.runtime.kinds[number] = p }()
	var line bpf.Line
	k := line.RuntimeKind()
	rows := map[bpf.Key6]uint32{}
	pending := map[uint32]struct{}{}
	for container, id := range containers {
		ruleset := l.n.runtimeIDs[id]
		switch container {
		case snapshot.RuntimePauseContainer:
			k.Pause = ruleset + 1
			k.PauseNeeds = l.n.runtimeSets[ruleset].rules.head.Needs
			continue
		case "":
			k.Fallback = ruleset + 1
		default:
			rows[l.secret.words(bpf.RuntimeKeyContainer, number, bpf.Key6{High: ContainerName(container)})] = ruleset + 1
		}
		pending[ruleset] = struct{}{}
		k.Needs |= l.n.runtimeSets[ruleset].rules.head.Needs
	}
	k.Count, k.Containers = uint32(len(pending)), uint32(len(rows))
	for _, key := range slices.SortedFunc(maps.Keys(p.containers), compareKeys) {
		if _, ok := rows[key]; !ok {
			l.dropRow(key)
			delete(p.containers, key)
		}
	}
	if p.containers == nil {
		p.containers = map[bpf.Key6]uint32{}
	}
	for _, key := range slices.SortedFunc(maps.Keys(rows), compareKeys) {
		if have := p.containers[key]; have != rows[key] {
			if err := l.putRow(key, rows[key], have != 0); err != nil {
				return err
			}
			p.containers[key] = rows[key]
		}
	}
	if lines := linesFor(len(pending), 16); lines != p.list.lines {
		l.runtime.heap.give(p.list)
		p.list = run{}
		if lines > 0 {
			var ok bool
			if p.list, ok = l.runtime.heap.take(lines); !ok {
				return fmt.Errorf("rule sets of a kind of pods: %w", errFull)
			}
		}
	}
	k.List = p.list.first
	order := slices.Sorted(maps.Keys(pending))
	for at := 0; at < len(order); at += 16 {
		var list bpf.Line
		copy(list.RuntimeList().Ruleset[:], order[at:])
		l.im.set(l.im.rtHeap.base+p.list.first+uint32(at/16), list)
	}
	l.im.set(l.im.rtSubjects.base+number, line)
	return nil
}

// emitRates writes how many events a second rules may make, by their slots: what a slot
// is given with a generation is its rule's of that generation.
func (l *Layout) emitRates() {
	lines := make([]bpf.Line, l.im.rtRates.lines)
	for id, row := range l.store.runtime.rules {
		if slot, ok := l.n.rules.byID[id]; ok {
			lines[slot/16].RuntimeRates().Rate[slot%16] = row.RateLimit
		}
	}
	for i := range lines {
		l.im.set(l.im.rtRates.base+uint32(i), lines[i])
	}
}

// nodeKind is what the row of the node itself says, where it costs
// processes outside of pods least; 0 if there are no rules about them.
func (l *Layout) nodeKind() uint32 {
	kind, ok := l.store.runtimeKind(snapshot.RuntimeNodeUID)
	if !ok {
		return 0
	}
	return l.n.runtimeKinds[kind] + 1
}

// emitRuntimeHeader writes where the tables are.
func (l *Layout) emitRuntimeHeader() {
	im := l.im
	var line bpf.Line
	*line.RuntimeHeader() = bpf.RuntimeHeader{
		KeyBase: im.rtKeys.base, FilterBase: im.rtFilter.base, FilterMask: im.rtFilter.lines*8 - 1,
		RowBase: im.rtRows.base, RowMask: im.rtRows.lines - 1, RulesetBase: im.rtRulesets.base,
		SubjectBase: im.rtSubjects.base, HeapBase: im.rtHeap.base,
		SlotDefault: uint32(l.n.runtimeDefault), SlotUnresolvable: uint32(l.n.runtimeUnresolvable),
		Rules: uint32(len(l.n.runtimeIDs)), RateBase: im.rtRates.base, Node: l.nodeKind(),
	}
	im.set(im.rtHeader.base, line)
}
