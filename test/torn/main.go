// Command torn proves promise P1: a verdict is made of one generation of policy and
// addresses together. Threads judge by test-run without a pause while a writer
// swaps two worlds; every verdict must be, word for word and with its generation,
// the one of the world that the generation names.
//
// Writers that do it wrong are run first and must be found out, so that the proof can
// fail: one writes line by line into the side that judges, one flips addresses and
// policy one after the other, one does not wait for those who still judge by the side
// that it writes. A verdict lasts too short for that last one to be caught, so each
// is held up in its middle; the writer that does it right has to
// stand that too.
//
//	go run ./test/torn                 # 2,000 flips and 5,000,000 verdicts at least
//	TORN_SECONDS=30 go run ./test/torn # stops after 30 seconds and says how far it came
//
// The last line is verdicts=N flips=N mixed=N.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// What a full run has at least.
const (
	fullFlips    = 2000
	fullVerdicts = 5_000_000
)

// patience is how long a wrong writer may go undetected.
const patience = 60 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "torn:", err)
		os.Exit(1)
	}
}

func run() error {
	limit, err := seconds(os.Getenv("TORN_SECONDS"))
	if err != nil {
		return err
	}
	for _, wrong := range []struct {
		writer
		pace
	}{{lineByLine{}, atOnce}, {apart{}, atOnce}, {undrained{}, held}} {
		r, err := race(wrong, wrong.pace, func(r result) bool { return r.mixed > 0 || r.took > patience })
		if err != nil {
			return fmt.Errorf("writer %s: %w", wrong, err)
		}
		if r.mixed == 0 {
			return fmt.Errorf("writer %s: not found out after %d verdicts and %d flips: the test proves nothing", wrong, r.verdicts, r.flips)
		}
		fmt.Printf("writer %s: found out: %d of %d verdicts mixed, %d flips\n", wrong, r.mixed, r.verdicts, r.flips)
	}
	if err := heldUp(); err != nil {
		return err
	}
	if err := runRuntime(limit); err != nil {
		return err
	}
	r, err := race(leftRight{}, atOnce, func(r result) bool {
		return (limit > 0 && r.took >= limit) || (r.flips >= fullFlips && r.verdicts >= fullVerdicts)
	})
	if err != nil {
		return err
	}
	if r.flips < fullFlips || r.verdicts < fullVerdicts {
		fmt.Printf("ran %d of %d flips\n", min(r.flips, fullFlips), fullFlips)
		fmt.Printf("ran %d of %d verdicts\n", min(r.verdicts, fullVerdicts), fullVerdicts)
	}
	fmt.Printf("slowest flip %v, mean %v, %d threads\n", r.slowest.Round(time.Microsecond), (r.applying / time.Duration(max(r.flips, 1))).Round(time.Microsecond), threads())
	fmt.Println(r)
	if r.mixed > 0 {
		return fmt.Errorf("verdicts of no generation: %s", r.example)
	}
	return nil
}

// What the right writer has to stand while verdicts are held up: many times what finds
// the one out that does not wait.
const (
	heldFlips    = 200
	heldVerdicts = 10_000
)

func heldUp() error {
	r, err := race(leftRight{}, held, func(r result) bool { return r.flips >= heldFlips && r.verdicts >= heldVerdicts })
	if err != nil {
		return err
	}
	fmt.Printf("held up: %s, slowest flip %v\n", r, r.slowest.Round(time.Microsecond))
	if r.mixed > 0 {
		return fmt.Errorf("verdicts of no generation while they were held up: %s", r.example)
	}
	return nil
}

func seconds(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("TORN_SECONDS=%s: want a number of seconds", s)
	}
	return time.Duration(n) * time.Second, nil
}
