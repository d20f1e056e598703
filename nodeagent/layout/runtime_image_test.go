package layout

import (
	"strings"
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

// runtimeReader answers from the lines of a side alone, as match.h does.
type runtimeReader struct {
	l     *Layout
	lines []bpf.Line
	h     *bpf.RuntimeHeader
	sec   *secret
}

func (l *Layout) runtimeReader(t *testing.T) runtimeReader {
	t.Helper()
	lines := l.Lines()
	sec := RuntimeSecretOf(lines)
	if sec == nil {
		t.Fatal("no words to hash with")
	}
	return runtimeReader{l, lines, lines[lines[1].Edges().Reserved[0]].RuntimeHeader(), (*secret)(sec)}
}

// find is rt_find.
func (r runtimeReader) find(key bpf.Key6) uint32 {
	word := uint32(key.High) & r.h.FilterMask
	for _, shift := range []int{58, 52, 46} {
		if r.lines[r.h.FilterBase+word/8].RuntimeWords().Word[word%8]>>(key.High>>shift&63)&1 == 0 {
			return 0
		}
	}
	for _, half := range []uint32{uint32(key.Low), uint32(key.Low >> 32)} {
		b := r.lines[r.h.RowBase+half&r.h.RowMask].Bucket6()
		for i := range b.Key {
			if b.Key[i] == key && b.Value[i] != 0 {
				return b.Value[i]
			}
		}
	}
	return 0
}

// subject lists the numbers of the rule sets of a container.
func (r runtimeReader) subject(uid, container string) (sets []uint32, known bool) {
	pod := r.find(r.sec.words(bpf.RuntimeKeyPod, 0, PodKey(uid)))
	if uid == snapshot.RuntimeNodeUID {
		pod = r.h.Node // one word says that there are no rules about the node itself
	}
	if pod == 0 {
		return nil, false
	}
	k := r.lines[r.h.SubjectBase+pod-1].RuntimeKind()
	one := uint32(0)
	switch container {
	case snapshot.RuntimePauseContainer:
		one = k.Pause
	case rowtest.Pending:
		for i := range k.Count {
			sets = append(sets, r.lines[r.h.HeapBase+k.List+i/16].RuntimeList().Ruleset[i%16])
		}
		return sets, true
	default:
		if one = r.find(r.sec.words(bpf.RuntimeKeyContainer, pod-1, bpf.Key6{High: ContainerName(container)})); one == 0 {
			one = k.Fallback
		}
	}
	if one != 0 {
		sets = append(sets, one-1)
	}
	return sets, true
}

// asking is a question to one rule set.
type asking struct {
	r        runtimeReader
	set      uint32
	op       rowtest.Operation
	from     uint64
	enforced uint64
	staged   uint64
}

func (q *asking) text(kind bpf.RuntimeKey, text string) bpf.Key6 {
	return q.r.sec.text(kind, q.set, q.op.Section, text)
}

func (q *asking) row(kind bpf.RuntimeKey, text string) {
	if value := q.r.find(q.text(kind, text)); value != 0 {
		q.clauses(value)
	}
}

func (q *asking) clauses(value uint32) {
	if value&bpf.RuntimeRowSimple != 0 {
		q.simple(value)
		return
	}
	first := q.r.h.HeapBase + value - 1
	for i := range q.r.lines[first].RuntimeClause().Count {
		c := q.r.lines[first+i].RuntimeClause()
		if q.holds(c.Operations, c.Origins, c.Owner, c.Flags, c.Capabilities, c.From) && q.half(c) {
			q.enforced, q.staged = min(q.enforced, c.Enforced), min(q.staged, c.Staged)
		}
	}
}

func (q *asking) simple(value uint32) {
	if q.op.Operations != 0 && q.op.Operations&value&0xff == 0 || q.outside() && value>>bpf.RuntimeSimpleAction&3 == 0 {
		return
	}
	set := q.r.lines[q.r.h.RulesetBase+q.set*bpf.RuntimeRulesetLines].RuntimeRuleset()
	rank := value >> bpf.RuntimeSimpleRank & 0x3fff
	slot := q.r.lines[q.r.h.HeapBase+set.Slots+rank/16].RuntimeSlots().Slot[rank%16]
	word := bpf.RuntimeWord(uint64(rank)+1, uint64(value>>bpf.RuntimeSimpleAction&3), bpf.RuleSlot(slot))
	if value&bpf.RuntimeSimpleEnforced != 0 {
		q.enforced = min(q.enforced, word)
	}
	if value&bpf.RuntimeSimpleStaged != 0 {
		q.staged = min(q.staged, word)
	}
}

func (q *asking) holds(operations uint32, origins, owner, flags uint8, capabilities, from uint64) bool {
	common := operations & q.op.Operations
	if capabilities != 0 && capabilities&q.op.Capabilities == 0 {
		common &^= 1
	}
	have := snapshot.OwnerNot
	if q.op.Owns {
		have = snapshot.OwnerOnly
	}
	switch {
	case q.op.Operations != 0 && common == 0, origins&(q.op.Origin|bpf.RuntimeAny) == 0, owner != 0 && owner != have:
		return false
	case q.outside() && origins&bpf.RuntimeAny != 0 && flags&bpf.RuntimeClauseDenies == 0:
		return false
	case from != 0 && q.op.Overflow && flags&bpf.RuntimeClauseDenies == 0, from != 0 && !q.op.Overflow && from&q.from == 0:
		return false
	}
	return flags&bpf.RuntimeClauseIsolation == 0 || !q.op.Mapping || q.op.Origin != snapshot.OriginImage
}

func (q *asking) half(c *bpf.RuntimeClause) bool {
	n := int(c.HalfLength)
	switch {
	case n == 0:
		return true
	case int(c.GlobLength) > len(q.op.Path):
		return false
	case c.Flags&bpf.RuntimeClauseSuffix != 0:
		return q.text(bpf.RuntimeKeySuffix, q.op.Path[len(q.op.Path)-n:]) == c.Half
	}
	return q.text(bpf.RuntimeKeyPrefix, q.op.Path[:n]) == c.Half
}

func (q *asking) path(r *bpf.RuntimeRuleset) {
	section, path := q.op.Section, q.op.Path
	directory := func(text string) {
		if r.Depths[section]>>min(strings.Count(text, "/"), 63)&1 == 1 {
			q.row(bpf.RuntimeKeyDirectory, text)
		}
	}
	for i := range path {
		if path[i] == '/' {
			directory(path[:i])
		}
	}
	directory(path)
	if r.Flags&(bpf.RuntimeHasExact<<section) != 0 {
		q.row(bpf.RuntimeKeyExact, path)
	}
	if q.op.Directory && q.op.Operations&operationRename != 0 && r.Needs&bpf.RuntimeNeedsMoves != 0 {
		q.row(bpf.RuntimeKeyAncestor, path)
	}
	lengths := q.r.h.RulesetBase + q.set*bpf.RuntimeRulesetLines + 1 + 2*uint32(section)
	for _, n := range q.r.lines[lengths].RuntimeLengths().Length {
		if n > 0 && int(n) <= len(path) {
			q.row(bpf.RuntimeKeyPrefix, path[:n])
		}
	}
	for _, n := range q.r.lines[lengths+1].RuntimeLengths().Length {
		if n > 0 && int(n) <= len(path) {
			q.row(bpf.RuntimeKeySuffix, path[len(path)-int(n):])
		}
	}
}

func (q *asking) network(r *bpf.RuntimeRuleset) {
	for i := range r.NetworkCount {
		c := q.r.lines[q.r.h.HeapBase+r.Network+i].RuntimePeerClause()
		if !q.holds(c.Operations, c.Origins, c.Owner, c.Flags, c.Capabilities, c.From) {
			continue
		}
		ports := c.PortCount == 0
		for n := range c.PortCount {
			p := q.r.lines[q.r.h.HeapBase+c.Ports+n/8].RuntimePorts().Port[n%8]
			numbered := q.op.Proto == 6 || q.op.Proto == 17 || q.op.Proto == 132
			ports = ports || (p.Protocol == 0 || p.Protocol == uint32(q.op.Proto)) && (!numbered || p.Low <= q.op.Port && q.op.Port <= p.High)
		}
		blocks, in := c.BlockCount == 0, false
		for n := range c.BlockCount {
			b := q.r.lines[q.r.h.HeapBase+c.Blocks+n/2].RuntimeBlocks().Block[n%2]
			hit := q.inBlock(b)
			if b.Except == 0 {
				blocks, in = blocks || in, hit
			} else if hit {
				in = false
			}
		}
		if ports && (blocks || in) {
			q.enforced, q.staged = min(q.enforced, c.Enforced), min(q.staged, c.Staged)
		}
	}
}

func (q *asking) inBlock(b bpf.RuntimeBlock) bool {
	k := KeyOf(q.op.Addr)
	if q.op.Addr.Is4() != (b.Family == uint32(bpf.FamilyIPv4)) {
		return false
	}
	for bit := range b.Bits {
		have, want := k.High>>(63-bit&63), b.Address.High>>(63-bit&63)
		if bit >= 64 {
			have, want = k.Low>>(127-bit), b.Address.Low>>(127-bit)
		}
		if have&1 != want&1 {
			return false
		}
	}
	return true
}

// judge is rt_judge.
func (r runtimeReader) judge(uid, container string, op rowtest.Operation) (v rowtest.RuntimeVerdict, known, rules bool) {
	sets, known := r.subject(uid, container)
	answer := bpf.RuntimeAnswer{Enforced: bpf.RuntimeNothing, Staged: bpf.RuntimeNothing}
	for _, set := range sets {
		q := &asking{r: r, set: set, op: op, enforced: bpf.RuntimeNothing, staged: bpf.RuntimeNothing}
		q.ask()
		answer.Enforced, answer.Staged = r.stricter(answer.Enforced, q.enforced), r.stricter(answer.Staged, q.staged)
	}
	return rowtest.RuntimeVerdict{Enforced: r.decision(answer.Enforced), Staged: r.decision(answer.Staged)}, known, len(sets) > 0
}

func (q *asking) unresolvable(set *bpf.RuntimeRuleset) {
	denied := bpf.RuntimeWord(0, bpf.RuntimeDeny, bpf.RuleSlot(q.r.h.SlotUnresolvable))
	if q.enforced == bpf.RuntimeNothing && set.Flags&(bpf.RuntimeDenies<<q.op.Section) != 0 {
		q.enforced = denied
	}
	if q.staged == bpf.RuntimeNothing && set.Flags&(bpf.RuntimeDeniesStaged<<q.op.Section) != 0 {
		q.staged = denied
	}
}

func (q *asking) outside() bool { return q.op.Origin == snapshot.OriginOutside }

func (q *asking) ask() {
	set := q.r.lines[q.r.h.RulesetBase+q.set*bpf.RuntimeRulesetLines].RuntimeRuleset()
	if q.op.Unresolvable {
		q.unresolvable(set)
		return
	}
	for i, path := range q.op.Chain {
		value := q.r.find(q.r.sec.from(q.set, path))
		if value&bpf.RuntimeFromSelf != 0 && i == 0 {
			q.from |= 1 << (value & 63)
		}
		if value&bpf.RuntimeFromAbove != 0 {
			q.from |= 1 << (value >> 16 & 63)
		}
	}
	if value := set.Any[q.op.Section]; value != 0 {
		q.clauses(value)
	}
	switch {
	case q.op.Section == snapshot.SectionNetwork:
		q.network(set)
	case q.op.Path != "":
		q.path(set)
	}
	if q.outside() {
		q.unresolvable(set)
	}
}

func (r runtimeReader) stricter(have, word uint64) uint64 {
	const strict = (bpf.RuntimeDeny | bpf.RuntimeKill) << 32
	if word == bpf.RuntimeNothing {
		word = bpf.RuntimeWord(bpf.RuntimeRankDefault, 0, bpf.RuleSlot(r.h.SlotDefault))
	}
	if have == bpf.RuntimeNothing || word&strict > have&strict {
		return word
	}
	return have
}

func (r runtimeReader) decision(word uint64) rowtest.RuntimeDecision {
	_, flags, slot := bpf.RuntimeWordParts(word)
	row, _ := r.l.Rule(slot)
	return rowtest.RuntimeDecision{Rule: row.Rule, Deny: flags&bpf.RuntimeDeny != 0, Kill: flags&bpf.RuntimeKill != 0}
}
