package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// Condition is a condition as /status shows it.
type Condition struct {
	Type    string `json:"type"`
	Holds   bool   `json:"holds"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Status is what /status shows.
type Status struct {
	Node        string      `json:"node"`
	Generation  string      `json:"generation,omitempty"`
	Digest      string      `json:"digest,omitempty"`
	Connected   bool        `json:"connected"`
	Conditions  []Condition `json:"conditions"`
	LastRefusal string      `json:"lastRefusal,omitempty"`
	// UnknownPods: allow or deny what pods execute that the snapshot does not know.
	UnknownPods string `json:"unknownPods,omitempty"`
}

// Status returns what the agent knows about itself.
func (a *Agent) Status() Status {
	n := a.Counts()
	out := Status{Node: a.o.Node, Connected: n.Connected, LastRefusal: n.LastRefusal}
	if c, ok := a.holding.current(); ok {
		out.Generation, out.Digest = c.Generation.String(), c.Digest.String()
	}
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	out.UnknownPods = a.status.unknownPods
	for _, c := range a.status.conditions() {
		out.Conditions = append(out.Conditions, Condition{c.GetType(), c.GetHolds(), c.GetReason(), c.GetMessage()})
	}
	return out
}

// Handler serves /metrics, /healthz (the process works), /readyz (a snapshot is in
// force) and /status.
func (a *Agent) Handler(reg *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(a.Status()) // the reader went away: nothing to tell it
	})
	return mux
}

// Serve serves h at addr until ctx ends.
func Serve(ctx context.Context, addr string, h http.Handler) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("metrics and health at %s: %w", addr, err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics and health at %s: %w", addr, err)
	}
	return nil
}
