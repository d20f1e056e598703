package snapshot

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

var rowOptions = gocmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}

func TestRowsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := genRow(t)
		back, err := Decode(Encode(row))
		if err != nil {
			t.Fatalf("%#v: %v", row, err)
		}
		if d := gocmp.Diff(row, back, rowOptions); d != "" {
			t.Fatalf("row changed on its way: %s", d)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	group := func(n byte) (g GroupID) { g[0] = n; return g }
	long := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	overlong := []byte{0x86, 0x00, 'n', 'o', 'd', 'e', '-', 'a', 0}
	cut := Encode(sampleRows()[1])
	cut.Value = cut.Value[:len(cut.Value)-1]
	equal := Answer{Deny: true}
	tests := map[string]struct {
		entry Entry
		want  string
	}{
		"unknown table":          {Entry{Table: 99}, "table 99: unknown"},
		"table zero":             {Entry{}, "table 0: unknown"},
		"key of a meta row":      {Entry{TableMeta, []byte{0}, []byte{1, 'n', 0}}, "key: bytes after the end"},
		"trailing bytes":         {Entry{TableMeta, nil, []byte{1, 'n', 0, 0}}, "value: bytes after the end"},
		"cut off":                {cut, "ends early"},
		"number not shortest":    {Entry{TableMeta, nil, overlong}, "shortest form"},
		"no node":                {Entry{TableMeta, nil, []byte{0, 0}}, "empty"},
		"string not UTF-8":       {Entry{TableMeta, nil, []byte{1, 0xff, 0}}, "not UTF-8"},
		"string too long":        {Entry{TableMeta, nil, long(MaxString + 1)}, "is over 4096"},
		"list longer than input": {Entry{TableRuleset, make([]byte, 16), append([]byte{0}, long(1<<40)...)}, "ends early"},
		"unsorted ranges": {Encode(MetaRow{Node: "n", PodRanges: []netip.Prefix{
			netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("10.1.0.0/16"),
		}}), "unsorted"},
		"prefix with host bits":   {Entry{TablePart, []byte{4, 10, 0, 0, 1, 8}, []byte{0}}, "outside its mask"},
		"prefix of 33 bits":       {Entry{TablePart, []byte{4, 10, 0, 0, 1, 33}, []byte{0}}, "outside its mask"},
		"family five":             {Entry{TableAddress, []byte{5, 10, 0, 0, 1}, nil}, "address family 5"},
		"mapped address":          {Encode(AddressRow{Addr: netip.MustParseAddr("::ffff:10.0.0.1"), Name: "a"}), "IPv6 form"},
		"unsorted groups":         {Encode(RulesetRow{Groups: []GroupID{group(2), group(1)}}), "unsorted"},
		"repeated groups":         {Encode(RulesetRow{Groups: []GroupID{group(2), group(2)}}), "repeats"},
		"kind in no group":        {Encode(KindRow{}), "empty"},
		"tier five":               {Encode(RuleRow{Tier: 5, Policy: "p", Rule: "r"}), "value 5 is over 4"},
		"policy kind five":        {Encode(RuleRow{PolicyKind: 5, Policy: "p", Rule: "r"}), "value 5 is over 4"},
		"endpoint three":          {Encode(AddressRow{Addr: netip.MustParseAddr("10.0.0.1"), Endpoint: 3, Name: "a"}), "value 3 is over 2"},
		"node with a UID":         {Encode(AddressRow{Addr: netip.MustParseAddr("10.0.0.1"), Endpoint: 1, UID: "u", Name: "a"}), "is no pod"},
		"node in a namespace":     {Encode(AddressRow{Addr: netip.MustParseAddr("10.0.0.1"), Endpoint: 1, Namespace: "u", Name: "a"}), "node in a namespace"},
		"local without UID":       {Encode(LocalRow{Name: "a"}), "empty"},
		"unknown answer flags":    {Entry{TableProgram, make([]byte, 16), append([]byte{16}, make([]byte, 33)...)}, "value 16 is over 15"},
		"segment like default":    {Encode(ProgramRow{Segments: []Segment{{Proto: 6}}}), "like the default"},
		"segment upside down":     {Encode(ProgramRow{Segments: []Segment{{Proto: 6, Lo: 2, Hi: 1, Answer: equal}}}), "ports 2 to 1"},
		"segments overlap":        {Encode(ProgramRow{Segments: []Segment{{6, 1, 5, equal}, {6, 5, 9, Answer{Log: true}}}}), "unsorted"},
		"segments not merged":     {Encode(ProgramRow{Segments: []Segment{{6, 1, 5, equal}, {6, 6, 9, equal}}}), "not merged"},
		"segments not in order":   {Encode(ProgramRow{Segments: []Segment{{17, 1, 5, equal}, {6, 6, 9, equal}}}), "unsorted"},
		"key over the limit":      {Entry{TableLocal, bytes.Repeat([]byte{'u'}, MaxKey+1), nil}, "over the limits"},
		"too many tags":           {Encode(RuleRow{Policy: "p", Rule: "r", Tags: make([]string, maxTags+1)}), "65 tags are over 64"},
		"key with trailing bytes": {Entry{TableSubject, make([]byte, 17), make([]byte, 32)}, "key: bytes after the end"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			row, err := Decode(test.entry)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %#v and error %v, want one with %q", row, err, test.want)
			}
		})
	}
}

// TestKeysSortSensibly: the byte order of keys is the order that people expect.
func TestKeysSortSensibly(t *testing.T) {
	parse := func(list ...string) (out []Entry) {
		for _, s := range list {
			out = append(out, Encode(PartRow{Prefix: netip.MustParsePrefix(s)}))
		}
		return out
	}
	sorted := parse("0.0.0.0/0", "9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "192.168.0.0/16", "::/0", "fd00::/8")
	if !slices.IsSortedFunc(sorted, compareEntries) {
		t.Fatal("prefixes do not sort by family, value, length")
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := genAddr(t), genAddr(t)
		want := cmp.Or(cmp.Compare(a.BitLen(), b.BitLen()), a.Compare(b))
		if got := compareEntries(Encode(AddressRow{Addr: a}), Encode(AddressRow{Addr: b})); got != want {
			t.Fatalf("%s against %s: %d, want %d", a, b, got, want)
		}
	})
}

func TestNumbersAreApart(t *testing.T) {
	content := []byte("same")
	seen := map[[16]byte]string{}
	for name, id := range map[string][16]byte{
		"kind": NewKindID(content), "group": NewGroupID(content), "ruleset": NewRulesetID(content),
		"program": NewProgramID(content), "rule": NewRuleID(content), "set": SetOf(nil),
	} {
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s share a number", name, other)
		}
		seen[id] = name
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, row := range slices.Concat(sampleRows(), sampleRuntimeRows()) {
		e := Encode(row)
		f.Add(uint8(e.Table), e.Key, e.Value)
	}
	f.Fuzz(func(t *testing.T, table uint8, key, value []byte) {
		e := Entry{Table(table), key, value}
		row, err := Decode(e)
		if err != nil {
			return
		}
		if again := Encode(row); again.Table != e.Table || !bytes.Equal(again.Key, key) || !bytes.Equal(again.Value, value) {
			t.Fatalf("%#v has two encodings: %x %x and %x %x", row, key, value, again.Key, again.Value)
		}
	})
}
