package flows

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"palisade.dev/palisade/nodeagent/internal/accept"
)

// DefaultSocket is where an agent gives out flows.
const DefaultSocket = "/run/palisade/flows.sock"

// Query is what a reader sends first, as one line of JSON.
type Query struct {
	Last   int  `json:"last"`   // how many past lines
	Follow bool `json:"follow"` // go on with what comes
}

// Serve gives out flows to whoever connects, until ctx ends; it closes l.
func (h *Hub) Serve(ctx context.Context, l net.Listener) error {
	return accept.Serve(ctx, l, h.serve)
}

func (h *Hub) serve(ctx context.Context, conn net.Conn) {
	if conn.SetReadDeadline(time.Now().Add(5*time.Second)) != nil {
		return
	}
	line, err := bufio.NewReader(io.LimitReader(conn, 4096)).ReadBytes('\n')
	var q Query
	if err != nil || json.Unmarshal(line, &q) != nil || conn.SetReadDeadline(time.Time{}) != nil {
		return
	}
	r := h.Subscribe(q.Last)
	defer r.Close()
	if !q.Follow {
		r.Close()
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	gone := make(chan struct{})
	go func() { // a reader that goes away is noticed though nothing is written
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
		if q.Follow {
			r.Close()
		}
	}()
	_ = r.Copy(conn) // the reader went away: nothing to tell it
	conn.Close()
	<-gone
}

// Read asks the agent at socket and calls each with every line until there are no
// more, ctx ends, or each fails.
func Read(ctx context.Context, socket string, q Query, each func([]byte) error) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("no agent gives out flows at %s: %w", socket, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := json.NewEncoder(conn).Encode(q); err != nil {
		return fmt.Errorf("socket %s: %w", socket, err)
	}
	return Lines(ctx, conn, each)
}

// Lines calls each with every line of r.
func Lines(ctx context.Context, r io.Reader, each func([]byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if err := each(s.Bytes()); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("flows: %w", err)
	}
	return nil
}
