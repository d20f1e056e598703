// Package stream is the agent's half of the conversation with the controller:
// it connects, says what the node holds, hands transfers to the agent, and carries
// back whether they were realised or why they were refused.
package stream

import (
	"context"
	"fmt"

	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Held is what the node's kernel enforces.
type Held struct {
	Generation snapshot.Generation
	Digest     snapshot.Digest
}

// Handler is the agent as the stream sees it.
type Handler interface {
	// Held returns what the kernel enforces and whether that is anything.
	Held() (Held, bool)
	// Apply realises a transfer entirely or refuses it with a *Refusal.
	Apply(ctx context.Context, t *wire.Transfer) error
	// Report returns the node's conditions, and what was counted since the
	// report before.
	Report() *wire.Report
	// ReportSoon receives when a report should not wait for its turn.
	ReportSoon() <-chan struct{}
}

// Refusal is why a generation was not applied.
type Refusal struct {
	Reason string // a constant of package wire
	Object string // the policy or node object it is about, if it is about one
	Err    error
}

// Refuse makes a refusal.
func Refuse(reason string, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Err: fmt.Errorf(format, args...)}
}

func (r *Refusal) Error() string { return r.Reason + ": " + r.Err.Error() }

func (r *Refusal) Unwrap() error { return r.Err }
