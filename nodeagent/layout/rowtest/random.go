package rowtest

import (
	"fmt"
	"net/netip"

	"pgregory.net/rapid"

	"palisade.dev/palisade/snapshot"
)

var randomGroups = []string{"a", "b", "c", "d", "e"}

func randomSubset(t *rapid.T, label string) []string {
	var out []string
	for _, g := range randomGroups {
		if rapid.Bool().Draw(t, label) {
			out = append(out, g)
		}
	}
	return out
}

// Redraw gives the kinds of a random node other groups and leaves its rule sets as
// they are.
func (b *Builder) Redraw(t *rapid.T) {
	b.Kind("world", randomSubset(t, "world")...)
	for k := range randomKinds {
		b.Kind(fmt.Sprintf("kind-%d", k), randomSubset(t, "kind groups")...)
	}
}

const randomKinds = 4

// Random draws a node with a few kinds, parts, rule sets and pods, and addresses to ask about, by
// family: "4" and "6".
func Random(t *rapid.T) (*Builder, map[string][]netip.Addr) {
	b := New("node-1", "10.1.0.0/24", "fd00:1::/64")
	groups := randomGroups
	subset := func(label string) []string { return randomSubset(t, label) }
	var programs []snapshot.ProgramID
	for i := range 12 {
		programs = append(programs, b.Program(randomAnswer(t, b, i), randomSegments(t, b, i)...))
	}
	b.Kind("world", subset("world")...)
	for _, p := range []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.0.16/28", "192.0.2.0/24", "fd00::/16", "fd00:1::/64", "fd00:1::10/124"} {
		if rapid.Bool().Draw(t, "part") {
			b.Part(p, subset("part groups")...)
		}
	}
	var sets []snapshot.RulesetID
	for i := range 5 {
		seen := map[string]snapshot.ProgramID{}
		sets = append(sets, b.Ruleset(fmt.Sprintf("set-%d", i), i%2 == 0, subset("set groups"), func(in func(string) bool) snapshot.ProgramID {
			key := ""
			for _, g := range groups {
				if in(g) {
					key += g
				}
			}
			if _, ok := seen[key]; !ok {
				seen[key] = rapid.SampledFrom(programs).Draw(t, "program")
			}
			return seen[key]
		}))
	}
	all := map[string][]netip.Addr{
		"4": {netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.1.0.200"), netip.MustParseAddr("224.0.0.9"), netip.MustParseAddr("255.255.255.255")},
		"6": {netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fd00:1::ffff"), netip.MustParseAddr("fd00:2::1"), netip.MustParseAddr("ff02::1"), netip.MustParseAddr("ffff::")},
	}
	for k := range randomKinds {
		kind := fmt.Sprintf("kind-%d", k)
		b.Kind(kind, subset("kind groups")...)
		b.Subject(kind, rapid.SampledFrom(sets).Draw(t, "ingress"), rapid.SampledFrom(sets).Draw(t, "egress"))
		for i := range rapid.IntRange(1, 8).Draw(t, "pods") {
			uid := fmt.Sprintf("uid-%d-%d", k, i)
			if rapid.Bool().Draw(t, "local") {
				b.Local(uid, kind)
			}
			n := 1 + k*8 + i
			v4, v6 := fmt.Sprintf("10.1.0.%d", n), fmt.Sprintf("fd00:1::%x", n)
			b.Address(v4, kind, uid)
			b.Address(v6, kind, uid)
			all["4"] = append(all["4"], netip.MustParseAddr(v4))
			all["6"] = append(all["6"], netip.MustParseAddr(v6))
		}
	}
	return b, all
}

func randomAnswer(t *rapid.T, b *Builder, i int) snapshot.Answer {
	deny := rapid.Bool().Draw(t, "deny")
	return snapshot.Answer{
		Rule: b.Rule(fmt.Sprintf("rule-%d", i)), StagedRule: b.Rule(fmt.Sprintf("staged-%d", i)),
		Deny: deny, Log: rapid.Bool().Draw(t, "log"),
		StagedDeny: rapid.Bool().Draw(t, "staged deny"), StagedLog: rapid.Bool().Draw(t, "staged log"),
	}
}

// randomSegments draws sorted, disjoint segments, more than a record holds at times.
func randomSegments(t *rapid.T, b *Builder, i int) []snapshot.Segment {
	var out []snapshot.Segment
	for _, proto := range []uint8{1, 6, 17} {
		next := 0
		for n := range rapid.IntRange(0, 5).Draw(t, "segments") {
			lo := next + rapid.IntRange(0, 3).Draw(t, "gap")
			hi := lo + rapid.IntRange(0, 4).Draw(t, "width")
			out = append(out, snapshot.Segment{Proto: proto, Lo: uint16(lo), Hi: uint16(hi), Answer: b.Deny(fmt.Sprintf("seg-%d-%d-%d", i, proto, n))})
			next = hi + 1
		}
	}
	return out
}
