package facts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"

	"palisade.dev/palisade/nodeagent/store"
)

// Revision counts the changes of a Store. Zero is before the first.
type Revision uint64

// ErrClosed says that the agent stopped before a fact was realised.
var ErrClosed = errors.New("the agent is stopping")

// Epoch says for how long interface numbers mean the same: one boot of the
// machine, one network namespace. Facts of another epoch are forgotten.
type Epoch struct {
	Boot  string `json:"boot"`
	Netns uint64 `json:"netns"`
}

// Store holds the node's attachments. It is safe for concurrent use. A change is
// on the disk before anybody learns of it.
type Store struct {
	path  string
	epoch Epoch

	mu       sync.Mutex
	held     map[AttachmentID]Attachment
	revision Revision
	realised Revision
	failure  error         // why the last revision could not be realised, if so
	moved    chan struct{} // closed and replaced when realised or failure changes
	changed  chan struct{} // holds one token while there is an unseen change
	closed   bool
}

type file struct {
	Epoch       Epoch        `json:"epoch"`
	Attachments []Attachment `json:"attachments"`
}

// Open reads the store at path. A file that is not there, or is of another
// epoch, gives an empty store. A damaged file gives an empty store and an error
// to report: what it held can be found again.
func Open(path string, epoch Epoch) (*Store, error) {
	s := &Store{
		path: path, epoch: epoch,
		held:    map[AttachmentID]Attachment{},
		moved:   make(chan struct{}),
		changed: make(chan struct{}, 1),
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("facts %s: %w", path, err)
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return s, fmt.Errorf("facts %s: damaged, starting without: %w", path, err)
	}
	if f.Epoch != epoch {
		return s, nil
	}
	for _, a := range f.Attachments {
		s.held[a.AttachmentID] = a
	}
	if len(s.held) > 0 {
		s.revision = 1
		s.changed <- struct{}{}
	}
	return s, nil
}

// Bind records attachments in one change. An address moves to the attachment
// that names it last: its former holder's DEL was lost. What CNI reported is not
// replaced by what was found otherwise for the same pod.
func (s *Store) Bind(as ...Attachment) (Revision, error) {
	return s.change(func(held map[AttachmentID]Attachment) {
		for _, a := range as {
			if a.Source == FromDiscovery && reportedByCNI(held, a.Pod.UID) {
				continue
			}
			bind(held, a)
		}
	})
}

func reportedByCNI(held map[AttachmentID]Attachment, uid PodUID) bool {
	for _, h := range held {
		if h.Pod.UID == uid && h.Source == FromCNI {
			return true
		}
	}
	return false
}

func bind(held map[AttachmentID]Attachment, a Attachment) {
	for id, h := range held {
		if id == a.AttachmentID {
			continue
		}
		if h.Pod.UID == a.Pod.UID && h.Source != a.Source && a.Source == FromCNI {
			delete(held, id) // found otherwise before, now reported
			continue
		}
		left := slices.DeleteFunc(slices.Clone(h.Addrs), func(x netip.Addr) bool { return slices.Contains(a.Addrs, x) })
		if len(left) == len(h.Addrs) {
			continue
		}
		if h.Addrs = left; len(left) == 0 {
			delete(held, id)
		} else {
			held[id] = h
		}
	}
	held[a.AttachmentID] = a
}

// Unbind forgets attachments. Unknown ones are no error: DEL may come twice.
func (s *Store) Unbind(ids ...AttachmentID) (Revision, error) {
	return s.change(func(held map[AttachmentID]Attachment) {
		for _, id := range ids {
			delete(held, id)
		}
	})
}

// Keep forgets every attachment for which keep is false.
func (s *Store) Keep(keep func(Attachment) bool) (Revision, error) {
	return s.change(func(held map[AttachmentID]Attachment) {
		maps.DeleteFunc(held, func(_ AttachmentID, a Attachment) bool { return !keep(a) })
	})
}

func (s *Store) change(f func(map[AttachmentID]Attachment)) (Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	next := maps.Clone(s.held)
	f(next)
	if maps.EqualFunc(next, s.held, Attachment.equal) {
		return s.revision, nil
	}
	b, err := json.Marshal(file{s.epoch, sorted(next)})
	if err != nil {
		return 0, fmt.Errorf("facts %s: %w", s.path, err)
	}
	if err := store.Replace(s.path, b); err != nil {
		return 0, err
	}
	s.held = next
	s.revision++
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return s.revision, nil
}

func sorted(held map[AttachmentID]Attachment) []Attachment {
	return slices.SortedFunc(maps.Values(held), func(a, b Attachment) int {
		return compareIDs(a.AttachmentID, b.AttachmentID)
	})
}

// Attachments returns all attachments, sorted, and the revision they are of.
func (s *Store) Attachments() ([]Attachment, Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sorted(s.held), s.revision
}

// Bindings returns one binding per address, sorted, and the revision they are of.
func (s *Store) Bindings() ([]Binding, Revision) {
	as, rev := s.Attachments()
	var bs []Binding
	for _, a := range as {
		for _, addr := range a.Addrs {
			bs = append(bs, Binding{Addr: addr, Pod: a.Pod, Ifindex: a.Host.Index})
		}
	}
	slices.SortFunc(bs, func(a, b Binding) int { return a.Addr.Compare(b.Addr) })
	return bs, rev
}

// Get returns one attachment.
func (s *Store) Get(id AttachmentID) (Attachment, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.held[id]
	return a, ok
}

// Changed receives after changes; several may be told by one token.
func (s *Store) Changed() <-chan struct{} { return s.changed }

// Realised says that the kernel uses revision rev, or why it does not.
func (s *Store) Realised(rev Revision, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
	if err == nil {
		s.realised = max(s.realised, rev)
	}
	close(s.moved)
	s.moved = make(chan struct{})
}

// Wait returns when the kernel uses revision rev, or with the reason why it does
// not when ctx ends first.
func (s *Store) Wait(ctx context.Context, rev Revision) error {
	for {
		s.mu.Lock()
		done, closed, failure, moved := s.realised >= rev, s.closed, s.failure, s.moved
		s.mu.Unlock()
		switch {
		case done:
			return nil
		case closed:
			return ErrClosed
		}
		select {
		case <-moved:
		case <-ctx.Done():
			if failure != nil {
				return fmt.Errorf("not applied: %w", failure)
			}
			return fmt.Errorf("not applied in time: %w", ctx.Err())
		}
	}
}

// Close ends all waiting.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.moved)
		s.moved = make(chan struct{})
	}
}
