// Command testsum reads the output of "go test -json" and prints a digest: one
// line per package, the full output of what failed, and the lines in which a
// test says how much of its full count it ran.
//
// A skipped test is a failure unless the file given by -skips lists it with a
// reason: a test that silently does nothing is worse than none.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	skips := flag.String("skips", "", "file of tests that may be skipped")
	counts := flag.String("counts", "", "file to append PASSED FAILED SKIPPED to")
	flag.Parse()
	ok, err := run(*skips, *counts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(skipsPath, countsPath string) (bool, error) {
	allowed, err := readSkips(skipsPath)
	if err != nil {
		return false, err
	}
	sum := newSummary(os.Stdout, allowed)
	if err := sum.read(os.Stdin); err != nil {
		return false, err
	}
	ok := sum.finish()
	if countsPath == "" {
		return ok, nil
	}
	f, err := os.OpenFile(countsPath, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return false, err
	}
	_, err = fmt.Fprintln(f, sum.passed, sum.failed, sum.skipped)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return ok, err
}
