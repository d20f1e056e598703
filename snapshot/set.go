package snapshot

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
)

// Set is a set of entries that knows its sum: the entries are summed up when
// somebody first asks, and from then on every change is accounted for. Calls that
// only read may run at the same time, others may not. The zero Set is not usable;
// call NewSet.
type Set struct {
	entries map[EntryKey][]byte

	mu     sync.Mutex // of what follows, among readers
	summed bool
	sum    Sum
}

// NewSet returns a set of the given entries; later ones replace earlier ones.
func NewSet(entries ...Entry) *Set {
	s := &Set{entries: make(map[EntryKey][]byte, len(entries))}
	for _, e := range entries {
		s.Put(e)
	}
	return s
}

// Put adds an entry, or replaces the one with its key. It keeps the value's
// bytes, which must not change afterwards. It reports whether anything changed.
func (s *Set) Put(e Entry) bool {
	id := e.ID()
	if old, ok := s.entries[id]; ok {
		if bytes.Equal(old, e.Value) {
			return false
		}
		if s.summed {
			s.sum.Remove(Entry{e.Table, e.Key, old})
		}
	}
	s.entries[id] = e.Value
	if s.summed {
		s.sum.Add(e)
	}
	return true
}

// Delete removes an entry and reports whether there was one.
func (s *Set) Delete(id EntryKey) bool {
	old, ok := s.entries[id]
	if !ok {
		return false
	}
	if s.summed {
		s.sum.Remove(Entry{id.Table, []byte(id.Key), old})
	}
	delete(s.entries, id)
	return true
}

// Get returns the value of an entry.
func (s *Set) Get(id EntryKey) ([]byte, bool) {
	v, ok := s.entries[id]
	return v, ok
}

// Len is the number of entries.
func (s *Set) Len() int { return len(s.entries) }

// Sum returns a copy of the set's sum.
func (s *Set) Sum() *Sum {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.summed {
		s.sum = sumOf(s.entries)
		s.summed = true
	}
	sum := s.sum
	return &sum
}

// Digest identifies the set's content.
func (s *Set) Digest() Digest { return s.Sum().Digest() }

// Entries lists the set in order.
func (s *Set) Entries() []Entry {
	ids := make([]EntryKey, 0, len(s.entries))
	for id := range s.entries {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, CompareEntryKeys)
	out := make([]Entry, len(ids))
	for i, id := range ids {
		out[i] = Entry{id.Table, []byte(id.Key), s.entries[id]}
	}
	return out
}

// Each visits the entries of one table, in no order. It sorts and copies nothing of the rest.
func (s *Set) Each(table Table, visit func(Entry)) {
	for id, value := range s.entries {
		if id.Table == table {
			visit(Entry{id.Table, []byte(id.Key), value})
		}
	}
}

// Rows decodes the set in order.
func (s *Set) Rows() ([]Row, error) {
	out := make([]Row, 0, len(s.entries))
	for _, e := range s.Entries() {
		row, err := Decode(e)
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

// Meta returns the row that says whose snapshot the set is.
func (s *Set) Meta() (MetaRow, error) {
	v, ok := s.entries[EntryKey{Table: TableMeta}]
	if !ok {
		return MetaRow{}, fmt.Errorf("%s row: missing", TableMeta)
	}
	row, err := Decode(Entry{Table: TableMeta, Value: v})
	if err != nil {
		return MetaRow{}, err
	}
	return row.(MetaRow), nil
}

// Clone returns a copy that shares the values' bytes.
func (s *Set) Clone() *Set {
	out := &Set{entries: make(map[EntryKey][]byte, len(s.entries))}
	s.mu.Lock()
	out.summed, out.sum = s.summed, s.sum
	s.mu.Unlock()
	for id, v := range s.entries {
		out.entries[id] = v
	}
	return out
}

// Union returns a new set of the entries of all sets, which share no keys.
func Union(sets ...*Set) *Set {
	n := 0
	for _, s := range sets {
		n += s.Len()
	}
	out := &Set{entries: make(map[EntryKey][]byte, n)}
	for _, s := range sets {
		for id, v := range s.entries {
			out.entries[id] = v
		}
		out.sum = *out.sum.Combine(s.Sum())
	}
	out.summed = true
	return out
}

// Apply changes the set as the delta says.
func (s *Set) Apply(d Delta) {
	for _, id := range d.Deletes {
		s.Delete(id)
	}
	for _, e := range d.Upserts {
		s.Put(e)
	}
}
