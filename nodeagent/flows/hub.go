package flows

import (
	"encoding/json"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// recentLines is how many lines a reader that comes late can still get.
	recentLines = 1000
	// queueLines is how far a reader may fall behind before it loses lines.
	queueLines = 4096
)

// Hub hands records on to readers. A slow reader loses records and is told how
// many; it never holds up the others or the kernel's buffer.
type Hub struct {
	now func() time.Time

	mu      sync.Mutex
	recent  [][]byte // a ring; next is the oldest
	next    int
	readers map[*Reader]struct{}

	published, lost atomic.Uint64
}

// Reader receives lines of JSON, each with its newline.
type Reader struct {
	Lines <-chan []byte

	lines chan []byte
	lost  uint64 // under the hub's lock
	hub   *Hub
}

// NewHub returns a hub without readers. The clock stamps losses.
func NewHub(now func() time.Time) *Hub {
	return &Hub{now: now, readers: map[*Reader]struct{}{}}
}

// Publish hands on one record: a Flow, or an event of package events.
func (h *Hub) Publish(record any) {
	h.published.Add(1)
	h.send(record)
}

// Lost tells readers of records that the kernel could not deliver. by is the rule that
// made too many of them; the zero one for another reason.
func (h *Hub) Lost(n uint64, by Decision) {
	if n > 0 {
		h.lost.Add(n)
		h.send(Losses{Time: h.now(), Type: TypeLost, Lost: n, Where: "kernel", Tier: by.Tier, Policy: by.Policy, Rule: by.Rule})
	}
}

// Counts returns how many records were published and lost before they could be.
func (h *Hub) Counts() (published, lost uint64) { return h.published.Load(), h.lost.Load() }

func (h *Hub) send(record any) {
	line := marshal(record)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.recent) < recentLines {
		h.recent = append(h.recent, line)
	} else {
		h.recent[h.next] = line
		h.next = (h.next + 1) % recentLines
	}
	for r := range h.readers {
		r.offer(line, h.now)
	}
}

// offer queues a line, behind the losses before it. Two places are needed where
// there are losses; without them the line is one more loss.
func (r *Reader) offer(line []byte, now func() time.Time) {
	if r.lost > 0 && cap(r.lines)-len(r.lines) >= 2 {
		r.lines <- marshal(Losses{Time: now(), Type: TypeLost, Lost: r.lost, Where: "reader"})
		r.lost = 0
	}
	if r.lost == 0 {
		select {
		case r.lines <- line:
			return
		default:
		}
	}
	r.lost++
}

func marshal(record any) []byte {
	b, err := json.Marshal(record)
	if err != nil {
		panic("flow record: " + err.Error()) // only a type that JSON cannot hold gets here
	}
	return append(b, '\n')
}

// Subscribe adds a reader that first gets the last lines, at most last of them.
func (h *Hub) Subscribe(last int) *Reader {
	c := make(chan []byte, queueLines)
	r := &Reader{Lines: c, lines: c, hub: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.recent)
	for i := max(0, n-last); i < n; i++ {
		c <- h.recent[(h.next+i)%n]
	}
	h.readers[r] = struct{}{}
	return r
}

// Close ends the reader's lines.
func (r *Reader) Close() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if _, ok := r.hub.readers[r]; ok {
		delete(r.hub.readers, r)
		close(r.lines)
	}
}

// Copy writes lines to w until the reader is closed or w fails.
func (r *Reader) Copy(w io.Writer) error {
	for line := range r.Lines {
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}
