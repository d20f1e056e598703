package property

import (
	"flag"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// How many commits a test is about; without PALISADE_FULL=1 it makes do with
// fewer, and says so.
const (
	fullSteps  = 10_000
	shortSteps = 1_500
)

var seedFlag = flag.Uint64("seed", 0, "try only the history that this seed makes; 0: new ones every time")

// event is the seed of one random event, so that it stays the same when those
// around it are left out.
type event uint64

func (e event) rand() *rand.Rand { return rand.New(rand.NewPCG(uint64(e), 0)) }

// history is a list of commits of events.
type history struct {
	seed    uint64
	event   event // for what comes after the commits
	commits [][]event
}

func newHistory(seed uint64, commits int) history {
	r := rand.New(rand.NewPCG(seed, 1))
	h := history{seed: seed, event: event(r.Uint64())}
	for range commits {
		var c []event
		for range 1 + r.IntN(3) {
			c = append(c, event(r.Uint64()))
		}
		h.commits = append(h.commits, c)
	}
	return h
}

// tryHistories tries as many random histories as make up the steps asked for, and
// says how many those were. One that fails is told with its seed, and cut down to
// the commits that it takes to fail.
func tryHistories(t *testing.T, commits int, try func(history) error) {
	steps := shortSteps
	if os.Getenv("PALISADE_FULL") == "1" {
		steps = fullSteps
	}
	seed := uint64(time.Now().UnixNano())
	if *seedFlag != 0 {
		seed, steps = *seedFlag, commits
	}
	done := 0
	for ; done < steps; done += commits {
		h := newHistory(seed, commits)
		if err := try(h); err != nil {
			t.Logf("-seed=%d fails: %v", seed, err)
			h, err = shrink(h, err, try)
			t.Fatalf("-seed=%d fails with %d of its %d commits: %v", seed, len(h.commits), commits, err)
		}
		seed++
	}
	t.Logf("ran %d of %d commits", done, fullSteps)
}

// shrink leaves out commits, and events, as long as the rest still fails.
func shrink(h history, err error, try func(history) error) (history, error) {
	for size := len(h.commits); size > 0; size /= 2 {
		for at := 0; at+size <= len(h.commits); {
			rest := h
			rest.commits = append(append([][]event{}, h.commits[:at]...), h.commits[at+size:]...)
			if e := try(rest); e != nil {
				h, err = rest, e
			} else {
				at += size
			}
		}
	}
	for i := range h.commits {
		for j := 0; j < len(h.commits[i]); {
			rest := h
			rest.commits = append([][]event{}, h.commits...)
			rest.commits[i] = append(append([]event{}, h.commits[i][:j]...), h.commits[i][j+1:]...)
			if e := try(rest); e != nil {
				h, err = rest, e
			} else {
				j++
			}
		}
	}
	return h, err
}
