package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unicode/utf8"
)

// The bounds that a decoder checks before it allocates.
const (
	MaxKey    = 512     // bytes of an entry's key
	MaxValue  = 4 << 20 // bytes of an entry's value
	MaxString = 4096    // bytes of one string
)

var (
	errTruncated = errors.New("ends early")
	errTrailing  = errors.New("bytes after the end")
	errOrder     = errors.New("list is unsorted or repeats")
	errEmpty     = errors.New("empty")
)

// Decode returns the row of an entry. It accepts exactly what Encode makes of
// valid rows: whatever else, trailing bytes, lists out of order, numbers not in
// their shortest form, is an error.
func Decode(e Entry) (Row, error) {
	if len(e.Key) > MaxKey || len(e.Value) > MaxValue {
		return nil, fmt.Errorf("%s row: %d bytes of key and %d of value are over the limits", e.Table, len(e.Key), len(e.Value))
	}
	decode, ok := rowDecoders[e.Table]
	if !ok {
		return nil, fmt.Errorf("table %d: unknown", e.Table)
	}
	k, v := reader{b: e.Key}, reader{b: e.Value}
	row := decode(&k, &v)
	if err := errors.Join(k.end("key"), v.end("value")); err != nil {
		return nil, fmt.Errorf("%s row: %w", e.Table, err)
	}
	return row, nil
}

var rowDecoders = map[Table]func(k, v *reader) Row{
	TableMeta:    decodeMeta,
	TableRule:    decodeRule,
	TableProgram: decodeProgram,
	TableRuleset: decodeRuleset,
	TableCell:    decodeCell,
	TableKind:    decodeKind,
	TablePart:    decodePart,
	TableSubject: decodeSubject,
	TableLocal:   decodeLocal,
	TableAddress: decodeAddress,

	TableRuntimeRule:    decodeRuntimeRule,
	TableRuntimeRuleset: decodeRuntimeRuleset,
	TableRuntimeSubject: decodeRuntimeSubject,
	TableRuntimePod:     decodeRuntimePod,
}

var tableNames = [...]string{
	TableMeta: "meta", TableRule: "rule", TableProgram: "program", TableRuleset: "ruleset", TableCell: "cell",
	TableKind: "kind", TablePart: "part", TableSubject: "subject", TableLocal: "local", TableAddress: "address",
	TableRuntimeRule: "runtime-rule", TableRuntimeRuleset: "runtime-ruleset",
	TableRuntimeSubject: "runtime-subject", TableRuntimePod: "runtime-pod",
}

// String is the table's name in messages and metrics.
func (t Table) String() string {
	if int(t) < len(tableNames) && tableNames[t] != "" {
		return tableNames[t]
	}
	return fmt.Sprintf("table-%d", uint8(t))
}

// reader takes fields off the front of b. The first error sticks and later
// reads return zeroes, so that decoders read as lists of fields.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.err = errTrailing
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", what, r.err)
	}
	return nil
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		r.fail(errTruncated)
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.take(16))
	return id
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// uvarint reads a number in its shortest form.
func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail(errTruncated)
		return 0
	}
	if size > 1 && r.b[size-1] == 0 {
		r.fail(errors.New("number not in its shortest form"))
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count reads the length of a list whose elements take at least size bytes
// each, so that a list is never made for bytes that are not there.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail(errTruncated)
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > MaxString {
		r.fail(fmt.Errorf("string of %d bytes is over %d", n, MaxString))
		return ""
	}
	return r.text(r.take(int(n)))
}

func (r *reader) text(b []byte) string {
	if !utf8.Valid(b) {
		r.fail(errors.New("string is not UTF-8"))
		return ""
	}
	return string(b)
}

// name reads a string that must not be empty.
func (r *reader) name() string {
	s := r.string()
	if s == "" {
		r.fail(errEmpty)
	}
	return s
}

// enum reads a byte up to last.
func (r *reader) enum(last uint8) uint8 {
	v := r.uint8()
	if v > last {
		r.fail(fmt.Errorf("value %d is over %d", v, last))
		return 0
	}
	return v
}

func (r *reader) groups() []GroupID {
	n := r.count(16)
	if n == 0 {
		return nil
	}
	out := make([]GroupID, n)
	for i := range out {
		out[i] = r.id()
		if i > 0 && CompareGroupIDs(out[i-1], out[i]) >= 0 {
			r.fail(errOrder)
			return nil
		}
	}
	return out
}

func (r *reader) addr() netip.Addr {
	switch family := r.uint8(); family {
	case 4:
		if b := r.take(4); b != nil {
			return netip.AddrFrom4([4]byte(b))
		}
	case 6:
		if b := r.take(16); b != nil {
			return netip.AddrFrom16([16]byte(b))
		}
	default:
		r.fail(fmt.Errorf("address family %d", family))
	}
	return netip.Addr{}
}

func (r *reader) prefix() netip.Prefix {
	a := r.addr()
	bits := int(r.uint8())
	if r.err != nil {
		return netip.Prefix{}
	}
	p := netip.PrefixFrom(a, bits)
	if !p.IsValid() || p != p.Masked() {
		r.fail(fmt.Errorf("prefix %s/%d has bits outside its mask", a, bits))
		return netip.Prefix{}
	}
	return p
}

func (r *reader) answer() Answer {
	flags := r.enum(flagsKnown)
	return Answer{
		Rule: r.id(), StagedRule: r.id(),
		Deny: flags&flagDeny != 0, Log: flags&flagLog != 0,
		StagedDeny: flags&flagStagedDeny != 0, StagedLog: flags&flagStagedLog != 0,
	}
}
