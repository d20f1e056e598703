package snapshot

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"strings"
)

// Entry is an encoded row. Entries are ordered by table, then by the bytes of
// the key; a set holds at most one entry per table and key.
type Entry struct {
	Table Table
	Key   []byte
	Value []byte
}

// EntryKey names an entry; Key holds the encoded bytes.
type EntryKey struct {
	Table Table
	Key   string
}

// ID returns the entry's key in the form that maps can hold.
func (e Entry) ID() EntryKey { return EntryKey{e.Table, string(e.Key)} }

// CompareEntryKeys orders keys as snapshots, deltas and files list them.
func CompareEntryKeys(a, b EntryKey) int {
	return cmp.Or(cmp.Compare(a.Table, b.Table), strings.Compare(a.Key, b.Key))
}

// Encode returns the row's entry. It checks nothing: rows come from code that
// keeps the order of lists, and Decode refuses those that do not.
func Encode(r Row) Entry {
	return Entry{Table: r.Table(), Key: r.appendKey(nil), Value: r.appendValue(nil)}
}

// KeyOf returns the key under which a row stands; only the row's key fields are read.
func KeyOf(r Row) EntryKey {
	return EntryKey{r.Table(), string(r.appendKey(nil))}
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

func appendGroups(b []byte, groups []GroupID) []byte {
	b = binary.AppendUvarint(b, uint64(len(groups)))
	for i := range groups {
		b = append(b, groups[i][:]...)
	}
	return b
}

// The family byte comes first so that IPv4 sorts before IPv6 and addresses of
// one family sort by value.
func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		v4 := a.As4()
		return append(append(b, 4), v4[:]...)
	}
	v6 := a.As16()
	return append(append(b, 6), v6[:]...)
}

func appendPrefix(b []byte, p netip.Prefix) []byte {
	return append(appendAddr(b, p.Addr()), uint8(p.Bits()))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// The bits of an answer's flags.
const (
	flagDeny = 1 << iota
	flagLog
	flagStagedDeny
	flagStagedLog
	flagsKnown = 1<<iota - 1
)

func appendAnswer(b []byte, a Answer) []byte {
	var flags uint8
	for _, f := range [...]struct {
		on  bool
		bit uint8
	}{{a.Deny, flagDeny}, {a.Log, flagLog}, {a.StagedDeny, flagStagedDeny}, {a.StagedLog, flagStagedLog}} {
		if f.on {
			flags |= f.bit
		}
	}
	b = append(b, flags)
	b = append(b, a.Rule[:]...)
	return append(b, a.StagedRule[:]...)
}

func (MetaRow) appendKey(b []byte) []byte { return b }

func (r MetaRow) appendValue(b []byte) []byte {
	b = appendString(b, r.Node)
	b = binary.AppendUvarint(b, uint64(len(r.PodRanges)))
	for _, p := range r.PodRanges {
		b = appendPrefix(b, p)
	}
	return b
}

func (r RuleRow) appendKey(b []byte) []byte { return append(b, r.ID[:]...) }

func (r RuleRow) appendValue(b []byte) []byte {
	b = append(b, r.Tier, r.PolicyKind)
	for _, s := range [...]string{r.Namespace, r.Policy, r.Rule, r.Severity, r.Message} {
		b = appendString(b, s)
	}
	return appendStrings(b, r.Tags)
}

func (r ProgramRow) appendKey(b []byte) []byte { return append(b, r.ID[:]...) }

func (r ProgramRow) appendValue(b []byte) []byte {
	b = appendAnswer(b, r.Default)
	b = binary.AppendUvarint(b, uint64(len(r.Segments)))
	for _, s := range r.Segments {
		b = append(b, s.Proto)
		b = binary.BigEndian.AppendUint16(b, s.Lo)
		b = binary.BigEndian.AppendUint16(b, s.Hi)
		b = appendAnswer(b, s.Answer)
	}
	return b
}

func (r RulesetRow) appendKey(b []byte) []byte { return append(b, r.ID[:]...) }

func (r RulesetRow) appendValue(b []byte) []byte {
	return appendGroups(appendBool(b, r.Egress), r.Groups)
}

func (r CellRow) appendKey(b []byte) []byte {
	return append(append(b, r.Ruleset[:]...), r.Set[:]...)
}

func (r CellRow) appendValue(b []byte) []byte { return append(b, r.Program[:]...) }

func (r KindRow) appendKey(b []byte) []byte   { return append(b, r.ID[:]...) }
func (r KindRow) appendValue(b []byte) []byte { return appendGroups(b, r.Groups) }

func (r PartRow) appendKey(b []byte) []byte   { return appendPrefix(b, r.Prefix) }
func (r PartRow) appendValue(b []byte) []byte { return appendGroups(b, r.Groups) }

func (r SubjectRow) appendKey(b []byte) []byte { return append(b, r.Kind[:]...) }

func (r SubjectRow) appendValue(b []byte) []byte {
	return append(append(b, r.Ingress[:]...), r.Egress[:]...)
}

func (r LocalRow) appendKey(b []byte) []byte { return append(b, r.UID...) }

func (r LocalRow) appendValue(b []byte) []byte {
	return appendString(appendString(append(b, r.Kind[:]...), r.Namespace), r.Name)
}

func (r AddressRow) appendKey(b []byte) []byte { return appendAddr(b, r.Addr) }

func (r AddressRow) appendValue(b []byte) []byte {
	b = append(append(b, r.Endpoint), r.Kind[:]...)
	for _, s := range [...]string{r.UID, r.Namespace, r.Name} {
		b = appendString(b, s)
	}
	return b
}
