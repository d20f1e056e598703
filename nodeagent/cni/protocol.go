// Package cni connects the chained CNI plugin with the agent: the plugin reports
// each pod over a unix socket and lets it start only when the kernel knows it.
package cni

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"palisade.dev/palisade/nodeagent/facts"
)

// DefaultSocket is where the agent listens for the plugin.
const DefaultSocket = "/run/palisade/cni.sock"

// Op is what the plugin asks for.
type Op string

// The operations, named after CNI's.
const (
	OpAdd    Op = "ADD"
	OpDel    Op = "DEL"
	OpCheck  Op = "CHECK"
	OpGC     Op = "GC"
	OpStatus Op = "STATUS"
)

// protocolVersion is raised when the meaning of a field changes; the agent
// refuses what it does not know, for a guess would be a pod under no policy.
const protocolVersion = 1

// Request is one line of JSON, answered by one Response.
type Request struct {
	Version    int                  `json:"version"`
	Op         Op                   `json:"op"`
	Attachment facts.AttachmentID   `json:"attachment,omitzero"`
	Pod        facts.Pod            `json:"pod,omitzero"`
	Addrs      []netip.Addr         `json:"addrs,omitempty"`
	Host       facts.Interface      `json:"host,omitzero"`
	Valid      []facts.AttachmentID `json:"valid,omitempty"` // GC: all that still exist
	// Timeout bounds how long the agent may wait for the kernel.
	Timeout time.Duration `json:"timeout"`
}

// Response says whether it was done, else why not.
type Response struct {
	Error string `json:"error,omitempty"`
}

// ErrUnreachable says that no agent answered.
var ErrUnreachable = errors.New("the Palisade agent does not answer")

// maxMessage bounds a request: a pod has few addresses, GC lists a node's pods.
const maxMessage = 1 << 20

// Call sends one request to the agent at socket, retrying to connect until ctx
// ends: the agent may be starting.
func Call(ctx context.Context, socket string, r Request) error {
	conn, err := dial(ctx, socket)
	if err != nil {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, socket, err)
	}
	defer conn.Close()
	if t, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(t); err != nil {
			return fmt.Errorf("socket %s: %w", socket, err)
		}
		// The agent is to give up a little before we do, so that its reason is heard.
		r.Timeout = time.Until(t) * 9 / 10
	}
	r.Version = protocolVersion
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, socket, err)
	}
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, socket, err)
	}
	var resp Response
	if err := json.Unmarshal(line, &resp); err != nil {
		return fmt.Errorf("answer of the agent at %s: %w", socket, err)
	}
	if resp.Error != "" {
		return errors.New(resp.Error)
	}
	return nil
}

func dial(ctx context.Context, socket string) (net.Conn, error) {
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "unix", socket)
		if err == nil {
			return conn, nil
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, err
		case <-t.C:
		}
	}
}
