package layout

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"palisade.dev/palisade/bpf"
)

func (l *Layout) table4() table[uint32, bucket4] {
	return table[uint32, bucket4]{im: l.im, at: l.im.address4, seed: l.seed}
}

func (l *Layout) table6() table[bpf.Key6, bucket6] {
	return table[bpf.Key6, bucket6]{im: l.im, at: l.im.address6, seed: l.seed}
}

func (l *Layout) portTable() table[uint32, bucket4] {
	return table[uint32, bucket4]{im: l.im, at: l.im.interfaces, seed: l.seed}
}

// placeAll brings the image up to date about the given addresses: those that
// leave first, so that what they free is there for those that come.
func (l *Layout) placeAll(touched map[netip.Addr]struct{}) error {
	order := sortedAddrs(touched)
	for _, a := range order {
		if h, ok := l.store.holder(a); !ok || l.held[a].uid != h.uid {
			l.displace(a)
		}
	}
	for uid := range l.owners {
		if _, ok := l.store.locals[uid]; !ok {
			l.freeOwn = append(l.freeOwn, l.owners[uid])
			delete(l.owners, uid)
		}
	}
	slices.Sort(l.freeOwn)
	slices.Reverse(l.freeOwn)
	for _, a := range order {
		h, ok := l.store.holder(a)
		if !ok || a.IsUnspecified() {
			continue
		}
		if err := l.place(a, h); err != nil {
			return err
		}
	}
	return nil
}

// displace takes an address out of the image.
func (l *Layout) displace(a netip.Addr) {
	p, ok := l.held[a]
	if !ok {
		return
	}
	delete(l.held, a)
	if a.Is4() {
		l.table4().remove(uint32(KeyOf(a).Low))
	} else {
		l.table6().remove(KeyOf(a))
	}
	if p.slot >= 0 {
		l.setSlot(p.slot, bpf.Slot{})
		l.slots[p.slot] = netip.Addr{}
		l.free = append(l.free, p.slot)
	}
	if p.uid != "" {
		if l.counts[p.uid]--; l.counts[p.uid] == 0 {
			delete(l.counts, p.uid)
		}
	}
}

// place puts an address into the image, or changes what stands there.
func (l *Layout) place(a netip.Addr, h holder) error {
	p, had := l.held[a]
	if !had {
		p = placed{slot: -1, uid: h.uid}
		if h.uid != "" {
			p.slot = l.takeSlot(a)
			l.counts[h.uid]++
		}
	}
	p.combo = l.comboOf(l.n, a, h)
	class := l.n.combos[p.combo]
	value := bpf.PeerKnown | class
	if h.unbound {
		value |= bpf.PeerUnbound
	}
	if p.slot >= 0 {
		if uint32(p.slot)/4 >= l.im.slots.lines {
			return fmt.Errorf("slots: %w", errFull)
		}
		value = bpf.PeerKnown | bpf.PeerLocal | uint32(p.slot)
		l.setSlot(p.slot, l.slotOf(h, class))
	}
	changed := !had || p.value != value
	p.value = value
	l.held[a] = p
	if !changed {
		return nil
	}
	if a.Is4() {
		return l.table4().put(uint32(KeyOf(a).Low), value)
	}
	return l.table6().put(KeyOf(a), value)
}

func (l *Layout) takeSlot(a netip.Addr) int32 {
	if n := len(l.free); n > 0 {
		slot := l.free[n-1]
		l.free = l.free[:n-1]
		l.slots[slot] = a
		return slot
	}
	l.slots = append(l.slots, a)
	return int32(len(l.slots) - 1)
}

func (l *Layout) slotOf(h holder, class uint32) bpf.Slot {
	s := l.store.subjects[h.kind]
	owner := l.owner(h.uid)
	if h.ifindex != 0 {
		owner |= bpf.SlotHasInterface
	}
	return bpf.Slot{Class: class, Ingress: l.n.rowIDs[s.Ingress], Egress: l.n.rowIDs[s.Egress], Owner: owner}
}

// owner is the number of a local endpoint.
func (l *Layout) owner(uid string) uint32 {
	if n, ok := l.owners[uid]; ok {
		return n
	}
	n := uint32(len(l.owners)+len(l.freeOwn)) + 1
	if k := len(l.freeOwn); k > 0 {
		n, l.freeOwn = l.freeOwn[k-1], l.freeOwn[:k-1]
	}
	l.owners[uid] = n
	return n
}

func (l *Layout) setSlot(slot int32, s bpf.Slot) {
	l.im.edit(l.im.slots.base+uint32(slot)/4, func(line *bpf.Line) { line.Slots().Slot[slot%4] = s })
}

// placePorts brings the table of interfaces up to date: whose they are.
func (l *Layout) placePorts() error {
	want := map[uint32]uint32{}
	for _, a := range slices.SortedFunc(maps.Keys(l.store.facts), netip.Addr.Compare) {
		f := l.store.facts[a]
		if _, ok := l.store.locals[f.UID]; ok && f.Ifindex != 0 && l.held[a].uid == f.UID {
			want[f.Ifindex] = bpf.PeerKnown | l.owner(f.UID)
		}
	}
	t := l.portTable()
	for _, i := range slices.Sorted(maps.Keys(l.ports)) {
		if _, ok := want[i]; !ok {
			t.remove(i)
			delete(l.ports, i)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(want)) {
		if l.ports[i] == want[i] {
			continue
		}
		if err := t.put(i, want[i]); err != nil {
			return err
		}
		l.ports[i] = want[i]
	}
	return nil
}
