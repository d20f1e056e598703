package poll

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// recorder is a test that notes its failure.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// catch runs what may fail.
func (r *recorder) catch(f func()) {
	defer func() {
		if said := recover(); said != nil {
			r.failure = said.(string)
		}
	}()
	f()
}

func TestUntil(t *testing.T) {
	for name, test := range map[string]struct {
		pace   Pace
		right  int // the look that finds it right; 0: none does
		failed bool
	}{
		"at once":       {Pace{Every: time.Hour, For: time.Hour}, 1, false},
		"later":         {Pace{Every: time.Microsecond, For: time.Hour}, 3, false},
		"never":         {Pace{Every: time.Microsecond, For: time.Millisecond}, 0, true},
		"at the end":    {Pace{Every: time.Hour, For: time.Millisecond}, 2, false},
		"no time":       {Pace{Every: time.Hour}, 1, false},
		"no time, late": {Pace{Every: time.Hour}, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			looks := 0
			r := &recorder{TB: t}
			r.catch(func() {
				test.pace.Until(r, "the answer", func() error {
					if looks++; looks == test.right {
						return nil
					}
					return errors.New("still not")
				})
			})
			if (r.failure != "") != test.failed || test.failed && !strings.Contains(r.failure, "the answer") {
				t.Errorf("failure %q after %d looks", r.failure, looks)
			}
			if test.right > 0 && !test.failed && looks != test.right {
				t.Errorf("%d looks, want %d", looks, test.right)
			}
		})
	}
}

func TestHolds(t *testing.T) {
	looks := 0
	Holds(t, "the third look", func() bool { looks++; return looks == 3 })
	if looks != 3 {
		t.Errorf("%d looks", looks)
	}
}
