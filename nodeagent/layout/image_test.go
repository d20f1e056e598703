package layout

import (
	"net/netip"
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// reader answers from the lines of a side alone, as lookup.h and judge.h do.
type reader struct {
	t     *testing.T
	lines []bpf.Line
	rules map[bpf.RuleSlot]snapshot.RuleID
}

func (l *Layout) reader(t *testing.T) reader {
	return reader{t, l.Lines(), ruleNames(l.Lines())}
}

func ruleNames(lines []bpf.Line) map[bpf.RuleSlot]snapshot.RuleID {
	names := map[bpf.RuleSlot]snapshot.RuleID{}
	for i, id := range RulesOf(lines) {
		names[bpf.RuleFirst+bpf.RuleSlot(i)] = id
	}
	return names
}

func (r reader) header() *bpf.Header { return r.lines[0].Header() }

func (r reader) peer(a netip.Addr) uint32 {
	h, e, k := r.header(), r.lines[1].Edges(), KeyOf(a)
	im := &image{lines: r.lines}
	if a.Is4() {
		t := table[uint32, bucket4]{im: im, at: section{h.Address4Base, h.Address4Mask + 1}, seed: h.Seed}
		first, second := t.choices(uint32(k.Low))
		for _, line := range [...]uint32{first, second} {
			if p := t.find(line, uint32(k.Low)); p >= 0 {
				return r.lines[line].Bucket4().Entry[p].Value
			}
		}
		var value uint32
		for i := range e.Range4Lines {
			for _, x := range r.lines[e.Range4Base+i].Bucket4().Entry {
				if uint64(x.Key) <= k.Low {
					value = x.Value
				}
			}
		}
		return value
	}
	t := table[bpf.Key6, bucket6]{im: im, at: section{h.Address6Base, h.Address6Mask + 1}, seed: h.Seed}
	first, second := t.choices(k)
	for _, line := range [...]uint32{first, second} {
		if p := t.find(line, k); p >= 0 {
			return r.lines[line].Bucket6().Value[p]
		}
	}
	var value uint32
	for i := range e.Range6Lines {
		b := r.lines[e.Range6Base+i].Bucket6()
		for j, x := range b.Key {
			if x.High < k.High || x.High == k.High && x.Low <= k.Low {
				value = b.Value[j]
			}
		}
	}
	return value
}

func (r reader) slot(value uint32) bpf.Slot {
	n := value & bpf.PeerNumber
	return r.lines[r.header().SlotBase+n/4].Slots().Slot[n%4]
}

func (r reader) class(value uint32) uint32 {
	if value&bpf.PeerLocal != 0 {
		return r.slot(value).Class
	}
	return value & bpf.PeerNumber
}

func (r reader) answer(row, class uint32, proto uint8, port uint16) bpf.Answer {
	h := r.header()
	number := r.lines[h.CellBase+row*h.Stride+class/32].Cells().Record[class%32]
	rec := r.lines[h.RecordBase+uint32(number)].Record()
	key := uint32(proto)<<16 | uint32(port)
	if rec.Segments <= inlineSegments {
		for _, s := range rec.Segment {
			if s.Low <= key && key <= s.High {
				return s.Answer
			}
		}
		return rec.Answer
	}
	for i := range (rec.Segments + 3) / 4 {
		for _, s := range r.lines[h.SegmentBase+rec.Offset+i].Segments().Segment {
			if s.Low <= key && key <= s.High {
				return s.Answer
			}
		}
	}
	return rec.Answer
}

// verdict is one direction's answer: a rule's, or a built-in one's by name.
type verdict struct {
	deny, stagedDeny bool
	rule, stagedRule snapshot.RuleID
	builtin          string
}

func (r reader) verdict(a bpf.Answer) verdict {
	slot := bpf.RuleSlot(a.Enforced & bpf.WordRule)
	return verdict{
		deny: a.Enforced&bpf.WordDeny != 0, stagedDeny: a.Staged&bpf.WordDeny != 0,
		rule: r.rules[slot], stagedRule: r.rules[bpf.RuleSlot(a.Staged&bpf.WordRule)], builtin: slot.Builtin(),
	}
}

func builtin(slot bpf.RuleSlot, deny bool) verdict {
	return verdict{deny: deny, stagedDeny: deny, builtin: slot.Builtin()}
}

func (r reader) judge(from, to netip.Addr, proto uint8, port uint16) (egress, ingress verdict) {
	client, server := r.peer(from), r.peer(to)
	if client == 0 || server == 0 {
		r.t.Fatalf("no value for %s or %s", from, to)
	}
	flags := r.header().Flags
	egress, ingress = builtin(bpf.RuleNobody, false), builtin(bpf.RuleNobody, false)
	cl, sl := client&bpf.PeerLocal != 0, server&bpf.PeerLocal != 0
	if cl && sl && (r.slot(client).Owner^r.slot(server).Owner)&bpf.PeerNumber == 0 {
		return builtin(bpf.RuleSelf, false), builtin(bpf.RuleSelf, false)
	}
	switch {
	case cl:
		egress = r.verdict(r.answer(r.slot(client).Egress, r.class(server), proto, port))
	case client&bpf.PeerUnbound != 0 && flags&bpf.SideDenyUnboundEgress != 0:
		egress = builtin(bpf.RuleUnbound, true)
	}
	switch {
	case sl:
		ingress = r.verdict(r.answer(r.slot(server).Ingress, r.class(client), proto, port))
	case server&bpf.PeerUnbound != 0 && flags&bpf.SideDenyUnboundIngress != 0:
		ingress = builtin(bpf.RuleUnbound, true)
	case server&bpf.PeerGroup != 0 && flags&bpf.SideDenyGroups != 0:
		ingress = builtin(bpf.RuleGroup, true)
	}
	return egress, ingress
}
