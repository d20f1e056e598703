package snapshot

import (
	"fmt"
	"net/netip"
	"slices"

	"pgregory.net/rapid"
)

// Generators of valid rows, from few values, so that keys collide.

func genID(t *rapid.T) (id [16]byte) {
	id[0], id[15] = rapid.Byte().Draw(t, "id"), rapid.Byte().Draw(t, "id")
	return id
}

func genGroups(t *rapid.T, least int) []GroupID {
	var out []GroupID
	for range rapid.IntRange(least, 4).Draw(t, "groups") {
		out = append(out, genID(t))
	}
	slices.SortFunc(out, CompareGroupIDs)
	return slices.Compact(out)
}

func genAddr(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "v4") {
		return netip.AddrFrom4([4]byte{10, 0, rapid.Byte().Draw(t, "b"), rapid.Byte().Draw(t, "b")})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 14: rapid.Byte().Draw(t, "b"), 15: rapid.Byte().Draw(t, "b")})
}

func genPrefix(t *rapid.T) netip.Prefix {
	a := genAddr(t)
	p, _ := a.Prefix(rapid.IntRange(0, a.BitLen()).Draw(t, "bits"))
	return p
}

func genAnswer(t *rapid.T) Answer {
	flag := func() bool { return rapid.Bool().Draw(t, "flag") }
	return Answer{Rule: genID(t), StagedRule: genID(t), Deny: flag(), Log: flag(), StagedDeny: flag(), StagedLog: flag()}
}

func genProgram(t *rapid.T) ProgramRow {
	row := ProgramRow{ID: genID(t), Default: genAnswer(t)}
	lo := 0
	for range rapid.IntRange(0, 4).Draw(t, "segments") {
		lo += rapid.IntRange(0, 9).Draw(t, "gap")
		hi := lo + rapid.IntRange(0, 9).Draw(t, "width")
		row.Segments = append(row.Segments, Segment{Proto: 6, Lo: uint16(lo), Hi: uint16(hi), Answer: genAnswer(t)})
		if checkSegment(row, len(row.Segments)-1) != nil {
			row.Segments = row.Segments[:len(row.Segments)-1]
		}
		lo = hi + 1
	}
	return row
}

func genRow(t *rapid.T) Row {
	if rapid.IntRange(0, 3).Draw(t, "runtime") == 0 {
		return genRuntimeRow(t)
	}
	text := rapid.StringN(0, 8, 40)
	name := func() string { return "n" + text.Draw(t, "text") }
	switch Table(rapid.IntRange(int(TableMeta), int(TableAddress)).Draw(t, "table")) {
	case TableMeta:
		row := MetaRow{Node: name()}
		for range rapid.IntRange(0, 3).Draw(t, "ranges") {
			row.PodRanges = append(row.PodRanges, genPrefix(t))
		}
		slices.SortFunc(row.PodRanges, ComparePrefixes)
		row.PodRanges = slices.Compact(row.PodRanges)
		return row
	case TableRule:
		return RuleRow{
			ID: genID(t), Tier: 2, PolicyKind: 3, Namespace: text.Draw(t, "ns"), Policy: name(), Rule: name(),
			Severity: text.Draw(t, "severity"), Message: text.Draw(t, "message"),
			Tags: rapid.SliceOfN(text, 1, 3).Draw(t, "tags"),
		}
	case TableProgram:
		return genProgram(t)
	case TableRuleset:
		return RulesetRow{ID: genID(t), Egress: rapid.Bool().Draw(t, "egress"), Groups: genGroups(t, 0)}
	case TableCell:
		return CellRow{Ruleset: genID(t), Set: genID(t), Program: genID(t)}
	case TableKind:
		return KindRow{ID: genID(t), Groups: genGroups(t, 1)}
	case TablePart:
		return PartRow{Prefix: genPrefix(t), Groups: genGroups(t, 0)}
	case TableSubject:
		return SubjectRow{Kind: genID(t), Ingress: genID(t), Egress: genID(t)}
	case TableLocal:
		return LocalRow{UID: name(), Kind: genID(t), Namespace: text.Draw(t, "ns"), Name: name()}
	default:
		row := AddressRow{Addr: genAddr(t), Kind: genID(t), Endpoint: uint8(rapid.IntRange(0, 2).Draw(t, "endpoint")), Name: name()}
		if row.Endpoint != endpointNode {
			row.Namespace = text.Draw(t, "ns")
		}
		if row.Endpoint == endpointPod {
			row.UID = name()
		}
		return row
	}
}

func genSet(t *rapid.T) *Set {
	s := NewSet()
	for range rapid.IntRange(0, 20).Draw(t, "rows") {
		s.Put(Encode(genRow(t)))
	}
	return s
}

// sampleRows holds one full row of every table: seeds, golden bytes, files.
func sampleRows() []Row {
	id := func(n byte) (x [16]byte) { x[0] = n; return x }
	deny := Answer{Rule: id(1), StagedRule: id(2), Deny: true, Log: true, StagedLog: true}
	return []Row{
		MetaRow{Node: "node-a", PodRanges: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00:1::/64")}},
		RuleRow{ID: id(1), Tier: 2, PolicyKind: 2, Namespace: "shop", Policy: "db", Rule: "backend", Severity: "High", Message: "only backend", Tags: []string{"pci"}},
		RuleRow{ID: id(2), Tier: 4, PolicyKind: 0, Policy: "palisade", Rule: "(default)"},
		ProgramRow{ID: id(3), Default: deny, Segments: []Segment{{Proto: 6, Lo: 5432, Hi: 5432, Answer: Answer{Rule: id(1), StagedRule: id(1)}}}},
		RulesetRow{ID: id(4), Egress: true, Groups: []GroupID{id(5), id(6)}},
		CellRow{Ruleset: id(4), Set: SetOf([]GroupID{id(5)}), Program: id(3)},
		KindRow{ID: id(7), Groups: []GroupID{id(5)}},
		PartRow{Prefix: netip.MustParsePrefix("10.20.0.0/16"), Groups: []GroupID{id(6)}},
		SubjectRow{Kind: id(7), Ingress: id(8), Egress: id(4)},
		LocalRow{UID: "5f0c", Kind: id(7), Namespace: "shop", Name: "db-0"},
		AddressRow{Addr: netip.MustParseAddr("10.1.0.7"), Kind: id(7), UID: "5f0c", Namespace: "shop", Name: "db-0"},
		AddressRow{Addr: netip.MustParseAddr("fd00:1::7"), Kind: id(9), Endpoint: 1, Name: "node-a"},
	}
}

func sampleSet() *Set {
	s := NewSet()
	for _, r := range sampleRows() {
		if !s.Put(Encode(r)) {
			panic(fmt.Sprintf("sample row %v repeats", r))
		}
	}
	return s
}
