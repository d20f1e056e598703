package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

const (
	kinds        = 8
	podsPerKind  = 4
	remotes      = 64
	protoTCP     = 6
	openPort     = 80
	elsewhere    = 81
	firstRemote  = 100
	localPerKind = podsPerKind
)

// world builds one of the two states. They share no rule that decides, half the
// pairs of kinds agree on allow or deny, and every address is of the next kind in
// the other world: a verdict made of parts of both belongs to neither.
func world(number int) *rowtest.Builder {
	b := rowtest.New("node-1", "10.1.0.0/16", "fd00:1::/64")
	for w := range 2 {
		for s := range kinds {
			for p := range kinds {
				for _, direction := range []string{"in", "out"} {
					for _, port := range []int{openPort, elsewhere} {
						b.Rule(rule(w, direction, s, p, port))
					}
				}
			}
		}
	}
	var groups []string
	for k := range kinds {
		groups = append(groups, group(k))
		b.Kind(kind(k), group(k))
	}
	for s := range kinds {
		in := b.Ruleset(fmt.Sprintf("w%d-in-%d", number, s), false, groups, cells(b, number, "in", s))
		out := b.Ruleset(fmt.Sprintf("w%d-out-%d", number, s), true, groups, cells(b, number, "out", s))
		b.Subject(kind(s), in, out)
		for i := range podsPerKind {
			b.Local(uid(s, i), kind(s))
		}
	}
	for i := range kinds * podsPerKind {
		k := (i + number) % kinds
		holder := uid(k, i/kinds)
		b.Address(local4(i), kind(k), holder)
		b.Address(local6(i), kind(k), holder)
	}
	for i := range remotes {
		k := (i + number) % kinds
		b.Address(remote4(i), kind(k), "")
		b.Address(remote6(i), kind(k), "")
	}
	return b
}

// cells answers in one rule set: one port program for each peer kind.
func cells(b *rowtest.Builder, number int, direction string, s int) func(in func(string) bool) snapshot.ProgramID {
	programs := map[int]snapshot.ProgramID{}
	return func(in func(string) bool) snapshot.ProgramID {
		p := 0
		for k := range kinds {
			if in(group(k)) {
				p = k
			}
		}
		if _, ok := programs[p]; !ok {
			programs[p] = b.Program(
				answer(b, number, direction, s, p, elsewhere),
				snapshot.Segment{Proto: protoTCP, Lo: openPort, Hi: openPort, Answer: answer(b, number, direction, s, p, openPort)},
			)
		}
		return programs[p]
	}
}

func answer(b *rowtest.Builder, number int, direction string, s, p, port int) snapshot.Answer {
	h := fnv.New32a()
	fmt.Fprint(h, direction, s, p, port)
	bits := h.Sum32()
	deny := bits&1 == 1
	if number == 1 && bits&2 == 2 {
		deny = !deny
	}
	id := snapshot.NewRuleID([]byte(rule(number, direction, s, p, port)))
	return snapshot.Answer{Rule: id, StagedRule: id, Deny: deny, StagedDeny: !deny}
}

func rule(w int, direction string, s, p, port int) string {
	return fmt.Sprintf("w%d-%s-%d-%d-%d", w, direction, s, p, port)
}

func group(k int) string  { return fmt.Sprintf("group-%d", k) }
func kind(k int) string   { return fmt.Sprintf("kind-%d", k) }
func uid(k, i int) string { return fmt.Sprintf("uid-%d-%d", k, i) }

func local4(i int) string  { return fmt.Sprintf("10.1.0.%d", i+1) }
func local6(i int) string  { return fmt.Sprintf("fd00:1::%x", i+1) }
func remote4(i int) string { return fmt.Sprintf("10.2.0.%d", i+firstRemote) }
func remote6(i int) string { return fmt.Sprintf("fd00:2::%x", i+firstRemote) }

// pair is a question with its answers in both worlds, as the kernel must word them.
type pair struct {
	question bpf.Question
	forward  [2]want // judged once
	want     [2]want
}

// mayBeReversed reports whether one world judges the question twice, and the other has
// another answer, so that it shows when the two judgements are not of one world.
func (p pair) mayBeReversed() bool {
	return p.question.Own&bpf.PickedUp != 0 && p.forward[0].denies() != p.forward[1].denies()
}

type want struct {
	egress, ingress bpf.Answer
}

// pairs are connections among local pods and with remote ones, of both families.
func pairs(worlds [2]*rowtest.Builder, l *layout.Layout) ([]pair, error) {
	slots := map[snapshot.RuleID]bpf.RuleSlot{}
	for _, s := range l.RuleSlots() {
		row, _ := l.Rule(s)
		slots[row.ID] = s
	}
	var out []pair
	agree := 0
	for i := range kinds * localPerKind {
		for j := range remotes {
			for _, port := range []int{openPort, elsewhere} {
				ends := [][2]string{
					{local4(i), remote4(j)}, {remote6(j), local6(i)},
					{local4(i), local4((i + j + 1) % (kinds * podsPerKind))},
					{local6(i), local6((i + j + 1) % (kinds * podsPerKind))},
				}
				for k, e := range ends {
					p, err := newPair(worlds, slots, netip.MustParseAddr(e[0]), netip.MustParseAddr(e[1]), uint16(port), (j+k)%2 == 0)
					if err != nil {
						return nil, err
					}
					if p.forward[0].denies() == p.forward[1].denies() {
						agree++
					}
					out = append(out, p)
				}
			}
		}
	}
	return out, errors.Join(kindsAgree(), agreement("connections", agree, len(out), 20, 80))
}

// kindsAgree checks what world says of the two.
func kindsAgree() error {
	b := rowtest.New("node-1")
	agree, all := 0, 0
	for s := range kinds {
		for p := range kinds {
			for _, direction := range []string{"in", "out"} {
				for _, port := range []int{openPort, elsewhere} {
					all++
					if answer(b, 0, direction, s, p, port).Deny == answer(b, 1, direction, s, p, port).Deny {
						agree++
					}
				}
			}
		}
	}
	return agreement("pairs of kinds", agree, all, 40, 60)
}

// agreement checks that the worlds agree on allow or deny neither too often, when only the
// names of rules would show a verdict made of parts of both, nor too seldom.
func agreement(what string, agree, all, least, most int) error {
	if 100*agree < least*all || 100*agree > most*all {
		return fmt.Errorf("the worlds agree on allow or deny about %d of %d %s: want %d%% to %d%%", agree, all, what, least, most)
	}
	return nil
}

// newPair asks about a connection; where it was picked up in the middle, what denies
// it has to deny it the other way round too, to the client's port.
func newPair(worlds [2]*rowtest.Builder, slots map[snapshot.RuleID]bpf.RuleSlot, from, to netip.Addr, port uint16, pickedUp bool) (pair, error) {
	family := bpf.FamilyIPv4
	if from.Is6() {
		family = bpf.FamilyIPv6
	}
	p := pair{question: bpf.Question{
		Client: layout.KeyOf(from), Server: layout.KeyOf(to), Port: protoTCP<<16 | uint32(port), Family: family,
	}}
	if pickedUp {
		p.question.Own, p.question.ClientPort = bpf.PickedUp, openPort
	}
	for w, b := range worlds {
		once, err := expect(b, slots, from, to, port)
		if err != nil {
			return p, err
		}
		p.forward[w], p.want[w] = once, once
		if !pickedUp || !once.denies() {
			continue
		}
		back, err := expect(b, slots, to, from, openPort)
		if err != nil {
			return p, err
		}
		if !back.denies() {
			p.want[w] = back
		}
	}
	return p, nil
}

func (w want) denies() bool { return (w.egress.Enforced|w.ingress.Enforced)&bpf.WordDeny != 0 }

// expect is what one world says about a connection, as the kernel must word it.
func expect(b *rowtest.Builder, slots map[snapshot.RuleID]bpf.RuleSlot, from, to netip.Addr, port uint16) (w want, err error) {
	egress, ingress := b.Judge(from, to, protoTCP, port)
	if w.egress, err = words(slots, egress); err != nil {
		return w, err
	}
	w.ingress, err = words(slots, ingress)
	return w, err
}

// words are an expected answer as the kernel has it.
func words(slots map[snapshot.RuleID]bpf.RuleSlot, v rowtest.Verdict) (bpf.Answer, error) {
	switch v.Builtin {
	case "(no-subject)":
		return bpf.Answer{Enforced: uint32(bpf.RuleNobody), Staged: uint32(bpf.RuleNobody)}, nil
	case "(self)":
		return bpf.Answer{Enforced: uint32(bpf.RuleSelf), Staged: uint32(bpf.RuleSelf)}, nil
	}
	slot, ok := slots[v.Answer.Rule]
	if !ok {
		return bpf.Answer{}, fmt.Errorf("rule %x has no slot", v.Answer.Rule)
	}
	a := bpf.Answer{Enforced: uint32(slot), Staged: uint32(slot)}
	if v.Answer.Deny {
		a.Enforced |= bpf.WordDeny
	}
	if v.Answer.StagedDeny {
		a.Staged |= bpf.WordDeny
	}
	return a, nil
}
