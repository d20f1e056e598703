package compile

import (
	"bytes"
	"slices"

	"palisade.dev/palisade/snapshot"
)

// table is a set of rows that remembers what it held at the last commit.
type table struct {
	set    *snapshot.Set
	before map[snapshot.EntryKey][]byte // of the keys touched since; nil: was not there
	fresh  bool                         // nothing was there, so nothing need be remembered
}

func newTable() table {
	return table{set: snapshot.NewSet(), fresh: true}
}

func (t *table) put(e snapshot.Entry) {
	if !t.fresh {
		t.remember(e.ID())
	}
	t.set.Put(e)
}

// putBlock adds a block of rows.
func (t *table) putBlock(b *snapshot.Block) {
	if !t.fresh {
		for _, id := range b.Keys() {
			t.remember(id)
		}
	}
	t.set.PutBlock(b)
}

// putShared adds a row that several nodes may have.
func (t *table) putShared(s *shared) {
	if s.block != nil {
		t.putBlock(s.block)
		return
	}
	t.put(s.entry)
}

func (t *table) delete(id snapshot.EntryKey) {
	if !t.fresh {
		t.remember(id)
	}
	t.set.Delete(id)
}

func (t *table) remember(id snapshot.EntryKey) {
	if _, known := t.before[id]; known {
		return
	}
	if t.before == nil {
		t.before = make(map[snapshot.EntryKey][]byte)
	}
	old, ok := t.set.Get(id)
	if ok && old == nil {
		old = []byte{}
	}
	t.before[id] = old
}

// take returns what changed since the last take.
func (t *table) take() snapshot.Delta {
	var d snapshot.Delta
	if t.fresh {
		t.fresh = false
		d.Upserts = t.set.Entries()
		return d
	}
	for id, old := range t.before {
		now, ok := t.set.Get(id)
		switch {
		case ok && (old == nil || !bytes.Equal(old, now)):
			d.Upserts = append(d.Upserts, snapshot.Entry{Table: id.Table, Key: []byte(id.Key), Value: now})
		case !ok && old != nil:
			d.Deletes = append(d.Deletes, id)
		}
	}
	t.before = nil
	slices.SortFunc(d.Upserts, func(a, b snapshot.Entry) int {
		if a.Table != b.Table {
			return int(a.Table) - int(b.Table)
		}
		return bytes.Compare(a.Key, b.Key)
	})
	slices.SortFunc(d.Deletes, snapshot.CompareEntryKeys)
	return d
}
