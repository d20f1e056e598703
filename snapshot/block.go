package snapshot

import "sync"

// Block is a list of entries that many sets hold, with their sum. A set that
// takes it hashes nothing. It is safe for concurrent use.
type Block struct {
	entries []Entry
	ids     []EntryKey
	once    sync.Once
	sum     *Sum // once a set needs it
}

// NewBlock returns a block of entries, no two with one key.
func NewBlock(entries ...Entry) *Block {
	b := &Block{entries: entries, ids: make([]EntryKey, len(entries))}
	for i := range entries {
		b.ids[i] = entries[i].ID()
	}
	return b
}

// Keys lists the keys of the block's entries.
func (b *Block) Keys() []EntryKey { return b.ids }

// PutBlock has the effect of Put for every entry of the block.
func (s *Set) PutBlock(b *Block) {
	for i := range b.ids {
		if _, ok := s.entries[b.ids[i]]; ok {
			s.putEach(b)
			return
		}
	}
	for i := range b.ids {
		s.entries[b.ids[i]] = b.entries[i].Value
	}
	if !s.summed {
		return
	}
	b.once.Do(func() {
		b.sum = new(Sum)
		for i := range b.entries {
			b.sum.Add(b.entries[i])
		}
	})
	s.sum = *s.sum.Combine(b.sum)
}

func (s *Set) putEach(b *Block) {
	for i := range b.entries {
		s.Put(b.entries[i])
	}
}
