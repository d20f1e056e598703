// Package poll waits in tests for what comes about by itself. It needs nothing but the standard
// library, so tests of any package may use it.
package poll

import (
	"errors"
	"testing"
	"time"
)

// A Pace says how often to look, and how long to go on.
type Pace struct {
	Every time.Duration
	For   time.Duration
}

// quick is for what happens in this process or next to it. Nobody waits that long unless
// something is broken; a busy machine may take a good part of it.
var quick = Pace{Every: 20 * time.Millisecond, For: 2 * time.Minute}

// Until polls until the condition returns no error. What it returned last is the failure.
func Until(t testing.TB, what string, condition func() error) {
	t.Helper()
	quick.Until(t, what, condition)
}

// Holds polls until the condition is true.
func Holds(t testing.TB, what string, condition func() bool) {
	t.Helper()
	quick.Until(t, what, func() error {
		if condition() {
			return nil
		}
		return errNot
	})
}

var errNot = errors.New("it does not hold")

// Until polls at this pace. The last look is one at the end of the time, however late a busy
// machine gets there.
func (p Pace) Until(t testing.TB, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(p.For)
	for {
		last := !time.Now().Before(deadline)
		err := condition()
		if err == nil {
			return
		}
		if last {
			t.Fatalf("%s: not within %v: %v", what, p.For, err)
		}
		time.Sleep(min(p.Every, max(0, time.Until(deadline))))
	}
}
