package publish

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"time"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// Counter numbers the states of a store.
type Counter uint64

// How much of the past a store remembers, for deltas.
const (
	maxLogEntries = 512
	maxLogRows    = 200_000
)

// Store holds the snapshots of all nodes, and the changes that led to them. It
// is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	counter Counter
	common  *snapshot.Set
	sorted  []snapshot.Entry // of common; nil once common has changed
	nodes   map[model.NodeName]*snapshot.Set
	log     []entry
	logRows int
	changed chan struct{} // closed and replaced by every Publish
}

// Remove forgets a node that is no more. Should it come back, it starts from
// nothing.
func (s *Store) Remove(node model.NodeName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.nodes, node)
	for i := range s.log {
		if n, ok := s.log[i].nodes[node]; ok {
			s.logRows -= rows(n.delta)
			delete(s.log[i].nodes, node)
		}
	}
}

// entry is one published change and the sums after it.
type entry struct {
	counter   Counter
	at        time.Time
	common    snapshot.Delta
	commonSum *snapshot.Sum
	nodes     map[model.NodeName]nodeEntry
}

type nodeEntry struct {
	delta snapshot.Delta
	sum   *snapshot.Sum
}

// touches reports whether the entry changed what a node should enforce.
func (e *entry) touches(node model.NodeName) bool {
	_, own := e.nodes[node]
	return own || !e.common.Empty()
}

// NewStore returns an empty store at counter 0.
func NewStore() *Store {
	return &Store{
		common: snapshot.NewSet(), nodes: map[model.NodeName]*snapshot.Set{}, changed: make(chan struct{}),
	}
}

// Publish applies a change and returns the counter of the state it led to; a
// change of nothing leaves the counter alone.
func (s *Store) Publish(now time.Time, common snapshot.Delta, nodes map[model.NodeName]snapshot.Delta) Counter {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := entry{at: now, common: common, nodes: map[model.NodeName]nodeEntry{}}
	n := rows(common)
	if !common.Empty() {
		s.common.Apply(common)
		s.sorted = nil
	}
	for node, d := range nodes {
		if d.Empty() {
			continue
		}
		n += rows(d)
		e.nodes[node] = nodeEntry{d, s.applyNode(node, d)}
	}
	if n > 0 {
		e.commonSum = s.common.Sum()
		s.append(e, n)
	}
	return s.counter
}

func (s *Store) applyNode(node model.NodeName, d snapshot.Delta) *snapshot.Sum {
	set := s.nodes[node]
	if set == nil {
		set = snapshot.NewSet()
		s.nodes[node] = set
	}
	set.Apply(d)
	if set.Len() == 0 {
		delete(s.nodes, node)
	}
	return set.Sum()
}

func (s *Store) append(e entry, n int) {
	s.counter++
	e.counter = s.counter
	s.log = append(s.log, e)
	s.logRows += n
	for len(s.log) > maxLogEntries || len(s.log) > 1 && s.logRows > maxLogRows {
		s.logRows -= s.log[0].rows()
		s.log = slices.Delete(s.log, 0, 1)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (e *entry) rows() int {
	n := rows(e.common)
	for _, d := range e.nodes {
		n += rows(d.delta)
	}
	return n
}

func rows(d snapshot.Delta) int { return len(d.Upserts) + len(d.Deletes) }

// Raise makes later states have counters over least: a new leader goes on
// counting where the old one stopped.
func (s *Store) Raise(least Counter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counter < least {
		s.counter = least - 1
		s.append(entry{commonSum: s.common.Sum()}, 0)
	}
}

// Counter is the counter of the newest state.
func (s *Store) Counter() Counter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counter
}

// Changed returns a channel that is closed at the next change of any node.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Digest identifies what a node should enforce; it reports false for a node
// that the store does not know.
func (s *Store) Digest(node model.NodeName) (snapshot.Digest, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, ok := s.nodes[node]
	if !ok {
		return snapshot.Digest{}, false
	}
	return s.digest(set), true
}

// Digests lists the digests of all nodes.
func (s *Store) Digests() map[model.NodeName]snapshot.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[model.NodeName]snapshot.Digest, len(s.nodes))
	for node, set := range s.nodes {
		out[node] = s.digest(set)
	}
	return out
}

func (s *Store) digest(own *snapshot.Set) snapshot.Digest {
	return s.common.Sum().Combine(own.Sum()).Digest()
}

// Rows counts the rows that the store holds: those common to all nodes, and all
// others.
func (s *Store) Rows() (common, own int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, set := range s.nodes {
		own += set.Len()
	}
	return s.common.Len(), own
}

// Rule finds a rule that a node should have.
func (s *Store) Rule(node model.NodeName, id snapshot.RuleID) (snapshot.RuleRow, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := snapshot.KeyOf(snapshot.RuleRow{ID: id})
	for _, set := range []*snapshot.Set{s.common, s.nodes[node]} {
		if set == nil {
			continue
		}
		if value, ok := set.Get(key); ok {
			row, err := snapshot.Decode(snapshot.Entry{Table: key.Table, Key: []byte(key.Key), Value: value})
			rule, isRule := row.(snapshot.RuleRow)
			return rule, err == nil && isRule
		}
	}
	return snapshot.RuleRow{}, false
}

// Locate finds the newest remembered state of a node that has the given digest.
func (s *Store) Locate(node model.NodeName, digest snapshot.Digest) (Counter, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, ok := s.nodes[node]
	if !ok {
		return 0, false
	}
	own := set.Sum()
	for i := len(s.log) - 1; i >= 0; i-- {
		e := &s.log[i]
		if e.commonSum.Combine(own).Digest() == digest {
			return e.counter, true
		}
		if _, ok := e.nodes[node]; ok {
			if own = s.ownBefore(node, i); own == nil {
				return 0, false
			}
		}
	}
	return 0, false
}

// ownBefore is the sum of a node's own rows before log entry i, nil if forgotten.
func (s *Store) ownBefore(node model.NodeName, i int) *snapshot.Sum {
	for i--; i >= 0; i-- {
		if n, ok := s.log[i].nodes[node]; ok {
			return n.sum
		}
	}
	return nil
}

// Step is what a node lacks.
type Step struct {
	Counter Counter
	Digest  snapshot.Digest
	Full    bool // Delta starts from the empty set
	Delta   snapshot.Delta
}

// Next returns the step that brings a node from the state held to the newest
// one; from nothing if known is false or the way is forgotten. It reports false
// if the node lacks nothing or is not known.
func (s *Store) Next(node model.NodeName, held Counter, known bool) (Step, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, ok := s.nodes[node]
	if !ok {
		return Step{}, false
	}
	from, remembered := s.after(held)
	if !known || !remembered {
		return Step{Counter: s.counter, Digest: s.digest(set), Full: true, Delta: s.full(set)}, true
	}
	var d snapshot.Delta
	found := false
	for i := from; i < len(s.log); i++ {
		if e := &s.log[i]; e.touches(node) {
			// The two share no table, so their order does not matter.
			d, found = d.Then(e.common).Then(e.nodes[node].delta), true
		}
	}
	return Step{Counter: s.counter, Digest: s.digest(set), Delta: d}, found
}

// Again returns a step that changes nothing, under the newest counter, for a node
// that lacks nothing; it reports false for any other node.
func (s *Store) Again(node model.NodeName, held Counter) (Step, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, ok := s.nodes[node]
	from, remembered := s.after(held)
	if !ok || !remembered {
		return Step{}, false
	}
	for i := from; i < len(s.log); i++ {
		if s.log[i].touches(node) {
			return Step{}, false
		}
	}
	return Step{Counter: s.counter, Digest: s.digest(set)}, true
}

// full is a node's whole snapshot as a delta from nothing. When a leader starts,
// every node may ask for one: the common entries, most of it, are sorted once.
func (s *Store) full(own *snapshot.Set) snapshot.Delta {
	if s.sorted == nil {
		s.sorted = s.common.Entries()
	}
	entries := slices.Concat(own.Entries(), s.sorted)
	byKey := func(a, b snapshot.Entry) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), bytes.Compare(a.Key, b.Key))
	}
	// The common table is the last one, so there is nothing to sort.
	if !slices.IsSortedFunc(entries, byKey) {
		slices.SortFunc(entries, byKey)
	}
	return snapshot.Delta{Upserts: entries}
}

// WithoutRuntime returns the step from nothing to the newest state of a node, less
// what only agents with the capability runtime can read; false if the node is not
// known.
func (s *Store) WithoutRuntime(node model.NodeName) (Step, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set, ok := s.nodes[node]
	if !ok {
		return Step{}, false
	}
	d := s.full(set)
	d.Upserts = slices.DeleteFunc(slices.Clone(d.Upserts), snapshot.Entry.NeedsRuntime)
	return Step{Counter: s.counter, Digest: snapshot.NewSet(d.Upserts...).Digest(), Full: true, Delta: d}, true
}

// after returns the index of the first log entry after a state, and whether the
// log remembers that state.
func (s *Store) after(held Counter) (int, bool) {
	i, found := slices.BinarySearchFunc(s.log, held, func(e entry, c Counter) int { return cmp.Compare(e.counter, c) })
	return i + 1, found
}

// Progress says how far a node has come that holds a state: the newest counter
// of which it enforces everything, and since when it lacks what came next (the
// zero time if it lacks nothing).
func (s *Store) Progress(node model.NodeName, held Counter) (Counter, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, remembered := s.after(held)
	if !remembered {
		at := time.Time{}
		if len(s.log) > 0 {
			at = s.log[0].at
		}
		return held, at
	}
	for i := from; i < len(s.log); i++ {
		if e := &s.log[i]; e.touches(node) {
			return e.counter - 1, e.at
		}
	}
	return s.counter, time.Time{}
}
