package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"
)

// try is one attempt of a watcher.
type try struct {
	Time   time.Time
	Target string
	OK     bool
	Error  string
}

// watcher is a pod that dials on and on.
type watcher struct {
	from pod
	mu   sync.Mutex
	seen []try
}

// watch makes a pod dial targets all the time; with keep, on one connection each.
func watch(t *testing.T, from pod, keep bool, targets ...string) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	args := append([]string{"exec", "-n", from.namespace, from.name, "--", "/probe", "watch", fmt.Sprintf("--keep=%t", keep)}, targets...)
	cmd := command(ctx, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &watcher{from: from}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r try
			if json.Unmarshal(lines.Bytes(), &r) == nil {
				w.mu.Lock()
				w.seen = append(w.seen, r)
				w.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = cmd.Wait() // it was killed
	})
	for _, target := range targets {
		pace.Until(t, "a first try", func() error {
			if len(w.tries(target, time.Time{})) == 0 {
				return fmt.Errorf("%s has not tried %s", from, target)
			}
			return nil
		})
	}
	return w
}

// tries are those of a target that began after a time.
func (w *watcher) tries(target string, after time.Time) (out []try) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.seen {
		if r.Target == target && r.Time.After(after) {
			out = append(out, r)
		}
	}
	return out
}

// goesOn waits until each target was tried so often since a time.
func (w *watcher) goesOn(t *testing.T, since time.Time, times int, targets ...string) {
	t.Helper()
	pace.Until(t, w.from.String()+" goes on", func() error {
		for _, target := range targets {
			if n := len(w.tries(target, since)); n < times {
				return fmt.Errorf("%s: %d tries", target, n)
			}
		}
		return nil
	})
}

// always checks that every try since a time came out as wanted, and that there
// were at least so many.
func (w *watcher) always(t *testing.T, since time.Time, atLeast int, want map[string]bool) {
	t.Helper()
	for target, ok := range want {
		tries := w.tries(target, since)
		if len(tries) < atLeast {
			t.Errorf("%s tried %s only %d times, want %d", w.from, target, len(tries), atLeast)
		}
		wrong := 0
		for _, r := range tries {
			if r.OK != ok {
				if wrong == 0 {
					t.Errorf("%s to %s at %s: answers %t, want %t (%s)", w.from, target, r.Time.Format(time.TimeOnly), r.OK, ok, r.Error)
				}
				wrong++
			}
		}
		if wrong > 1 {
			t.Errorf("%s to %s: %d of %d tries came out wrong", w.from, target, wrong, len(tries))
		}
	}
}

// becomes waits until tries come out as wanted.
func (w *watcher) becomes(t *testing.T, target string, ok bool) {
	t.Helper()
	pace.Until(t, fmt.Sprintf("%s to %s", w.from, target), func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := len(w.seen) - 1; i >= 0; i-- {
			if r := w.seen[i]; r.Target == target {
				if r.OK == ok {
					return nil
				}
				return fmt.Errorf("answers: %t, want %t (%s)", r.OK, ok, r.Error)
			}
		}
		return fmt.Errorf("it was never tried")
	})
}
