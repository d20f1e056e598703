package runtime

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/test/poll"
)

// records are what the kernel reported so far.
type records struct {
	mu   sync.Mutex
	list []Record
}

// read reads in the background what the kernel reports, until the test ends or stop is
// called.
func (n *node) read() (_ *records, stop func()) {
	n.t.Helper()
	out := &records{}
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan error, 1)
	r := n.r
	go func() {
		done <- r.Read(ctx, func(bpf.Key6) bool { return true }, func(rec Record) {
			out.mu.Lock()
			defer out.mu.Unlock()
			out.list = append(out.list, rec)
		})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		must(n.t, <-done)
	})
	n.t.Cleanup(stop)
	return out, stop
}

// of lists those of an executable.
func (r *records) of(path string) []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Record
	for _, rec := range r.list {
		if rec.Kind == bpf.RuntimeEventJudged && rec.Path == path {
			out = append(out, rec)
		}
	}
	return out
}

// until waits for a condition that the kernel brings about at once.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	poll.Pace{Every: 10 * time.Millisecond, For: 20 * time.Second}.Until(t, what, func() error {
		if !holds() {
			return errors.New("it does not hold")
		}
		return nil
	})
}

// lost is how many records of the first rule were over its rate.
func (n *node) lost() int {
	n.t.Helper()
	counters, err := n.d.Counters()
	must(n.t, err)
	for _, c := range counters {
		if c.Rule == snapshot.NewRuleID([]byte{0}) {
			return int(c.Lost)
		}
	}
	n.t.Fatal("the rule has no counter")
	return 0
}

// monotonicSecond is the second that the kernel counts records by.
func monotonicSecond(t *testing.T) uint64 {
	t.Helper()
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	return uint64(now.Sec)
}

// TestRateLimit: a rule makes as many records in a second as it says, also when that
// changes, and by a new agent; every other is counted as lost.
func TestRateLimit(t *testing.T) {
	const times = 30
	n := newNode(t, func(c *Config) { c.EventsPerSecond = 1000 })
	b := newBox(t)
	rule := snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Staged: true, Paths: []string{"/bin/denied"}}
	got, stop := n.read()
	before, lostBefore, second := 0, 0, uint64(0)
	check := func(name string, rate int) {
		t.Helper()
		until(t, "another second", func() bool { return monotonicSecond(t) > second })
		out, err := b.run(t, "/bin/app", "spawns", strconv.Itoa(times), "/bin/denied")
		if err != nil {
			t.Fatalf("%s: %q, %v", name, out, err)
		}
		var list []Record
		lost := 0
		until(t, name+": every execution is told or counted", func() bool {
			list, lost = got.of("/bin/denied")[before:], n.lost()-lostBefore
			return len(list)+lost >= times
		})
		if len(list)+lost != times {
			t.Errorf("%s: %d records and %d lost of %d", name, len(list), lost, times)
		}
		seconds := map[uint64]int{}
		for _, rec := range list {
			if seconds[rec.Time/1e9]++; seconds[rec.Time/1e9] > rate {
				t.Errorf("%s: %d records in a second, at most %d", name, seconds[rec.Time/1e9], rate)
			}
			if !rec.Staged().Deny || rec.Enforced().Deny {
				t.Errorf("%s: %+v, %+v", name, rec.Enforced(), rec.Staged())
			}
		}
		if len(list) == 0 {
			t.Errorf("%s: no record", name)
		}
		before, lostBefore = before+len(list), lostBefore+lost
		second = monotonicSecond(t)
	}
	rule.RateLimit = 2
	n.apply([]*box{b}, rule)
	check("two", 2)
	rule.RateLimit = 5
	n.apply([]*box{b}, rule)
	check("five", 5)
	stop()
	n.close()
	n.open(func(c *Config) { c.EventsPerSecond = 1000 })
	n.apply([]*box{b}, rule) // the same: only now rules have names for this agent
	got, _ = n.read()
	before, lostBefore = 0, n.lost()
	check("another agent", 5)
	rule.RateLimit = 0
	n.apply([]*box{b}, rule)
	check("as the agent has it", 1000)
}
