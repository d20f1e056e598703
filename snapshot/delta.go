package snapshot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Delta is what turns one set into another. Both lists are sorted and no key
// is in both; an upsert adds or replaces.
type Delta struct {
	Upserts []Entry
	Deletes []EntryKey
}

// Empty reports whether the delta changes nothing.
func (d Delta) Empty() bool { return len(d.Upserts) == 0 && len(d.Deletes) == 0 }

// Diff returns the delta that turns from into to.
func Diff(from, to *Set) Delta {
	var d Delta
	for id, v := range to.entries {
		if old, ok := from.entries[id]; !ok || !bytes.Equal(old, v) {
			d.Upserts = append(d.Upserts, Entry{id.Table, []byte(id.Key), v})
		}
	}
	for id := range from.entries {
		if _, ok := to.entries[id]; !ok {
			d.Deletes = append(d.Deletes, id)
		}
	}
	d.sort()
	return d
}

func (d *Delta) sort() {
	slices.SortFunc(d.Upserts, func(a, b Entry) int { return compareEntries(a, b) })
	slices.SortFunc(d.Deletes, CompareEntryKeys)
}

func compareEntries(a, b Entry) int {
	if a.Table != b.Table {
		return int(a.Table) - int(b.Table)
	}
	return bytes.Compare(a.Key, b.Key)
}

// Then returns the delta that has the effect of d followed by next.
func (d Delta) Then(next Delta) Delta {
	type change struct {
		value  []byte
		delete bool
	}
	changes := make(map[EntryKey]change, len(d.Upserts)+len(d.Deletes)+len(next.Upserts)+len(next.Deletes))
	for _, x := range [...]Delta{d, next} {
		for _, id := range x.Deletes {
			changes[id] = change{delete: true}
		}
		for _, e := range x.Upserts {
			changes[e.ID()] = change{value: e.Value}
		}
	}
	var out Delta
	for id, c := range changes {
		if c.delete {
			out.Deletes = append(out.Deletes, id)
		} else {
			out.Upserts = append(out.Upserts, Entry{id.Table, []byte(id.Key), c.value})
		}
	}
	out.sort()
	return out
}

// The marks before each record of an encoded delta.
const (
	recordDelete = 0
	recordUpsert = 1
)

// AppendDelta appends the delta's encoding: its records in the order of their
// keys, deletes and upserts mixed.
func AppendDelta(b []byte, d Delta) []byte {
	i, j := 0, 0
	for i < len(d.Deletes) || j < len(d.Upserts) {
		if j == len(d.Upserts) || i < len(d.Deletes) && CompareEntryKeys(d.Deletes[i], d.Upserts[j].ID()) < 0 {
			b = append(b, recordDelete, uint8(d.Deletes[i].Table))
			b = appendString(b, d.Deletes[i].Key)
			i++
		} else {
			b = appendEntry(append(b, recordUpsert), d.Upserts[j])
			j++
		}
	}
	return b
}

func appendEntry(b []byte, e Entry) []byte {
	b = append(b, uint8(e.Table))
	b = append(binary.AppendUvarint(b, uint64(len(e.Key))), e.Key...)
	return append(binary.AppendUvarint(b, uint64(len(e.Value))), e.Value...)
}

// DecodeDelta reads what AppendDelta wrote, and nothing else: records out of
// order, unknown tables and rows that Decode refuses are errors. The delta's
// entries share b's bytes.
func DecodeDelta(b []byte) (Delta, error) {
	var d Delta
	var last EntryKey
	r := reader{b: b}
	for i := 0; len(r.b) > 0; i++ {
		mark := r.enum(recordUpsert)
		e := r.entry(mark == recordUpsert)
		if r.err == nil && CompareEntryKeys(last, e.ID()) >= 0 {
			r.fail(errOrder)
		}
		if r.err != nil {
			return Delta{}, fmt.Errorf("delta record %d: %w", i, r.err)
		}
		last = e.ID()
		if mark == recordDelete {
			d.Deletes = append(d.Deletes, last)
			continue
		}
		if _, err := Decode(e); err != nil {
			return Delta{}, fmt.Errorf("delta record %d: %w", i, err)
		}
		d.Upserts = append(d.Upserts, e)
	}
	return d, nil
}

func (r *reader) entry(withValue bool) Entry {
	e := Entry{Table: Table(r.uint8())}
	if _, ok := rowDecoders[e.Table]; !ok {
		r.fail(fmt.Errorf("table %d: unknown", e.Table))
	}
	e.Key = r.bytes(MaxKey)
	if withValue {
		e.Value = r.bytes(MaxValue)
	}
	return e
}

func (r *reader) bytes(limit uint64) []byte {
	n := r.uvarint()
	if n > limit {
		r.fail(fmt.Errorf("%d bytes are over %d", n, limit))
		return nil
	}
	// An own capacity: appending to a key must not overwrite the value.
	return slices.Clip(r.take(int(n)))
}
