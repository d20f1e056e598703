package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// event is one line of go test -json (see "go doc test2json").
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Elapsed    float64
	Output     string
}

// noted are output lines that people want to see of tests that passed.
var noted = regexp.MustCompile(`ran \d+ of \d+|verdicts=\d+ flips=\d+ mixed=\d+`)

type testName struct{ pkg, test string }

// summary follows a stream of events.
type summary struct {
	out     io.Writer
	allowed skips

	output                  map[testName][]string // of tests that have not ended
	failed, passed, skipped int
	packages, broken        int // broken: packages that failed, or that no test of theirs explains
	refused                 []string
}

func newSummary(out io.Writer, allowed skips) *summary {
	return &summary{out: out, allowed: allowed, output: map[testName][]string{}}
}

func (s *summary) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			// go test prints some errors, such as a bad flag, as plain text.
			fmt.Fprintln(s.out, lines.Text())
			continue
		}
		s.add(e)
	}
	return lines.Err()
}

func (s *summary) add(e event) {
	name := testName{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "output":
		s.output[name] = append(s.output[name], e.Output)
		if noted.MatchString(e.Output) {
			fmt.Fprintf(s.out, "     %s\n", strings.TrimSpace(e.Output))
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			s.endTest(e)
		}
		delete(s.output, name)
	}
}

func (s *summary) endTest(e event) {
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		fmt.Fprintf(s.out, "FAIL %s %s\n", e.Package, e.Test)
		s.dump(testName{e.Package, e.Test})
	case "skip":
		s.skipped++
		if why := s.allowed.reason(e.Package, e.Test); why != "" {
			fmt.Fprintf(s.out, "skip %s %s: %s\n", e.Package, e.Test, why)
			return
		}
		s.refused = append(s.refused, e.Package+" "+e.Test)
		fmt.Fprintf(s.out, "FAIL %s %s: skipped, and not listed in the file of skips\n", e.Package, e.Test)
		s.dump(testName{e.Package, e.Test})
	}
}

func (s *summary) endPackage(e event) {
	switch e.Action {
	case "pass":
		s.packages++
		fmt.Fprintf(s.out, "ok   %-60s %7.1f s\n", e.Package, e.Elapsed)
	case "skip": // no test files
		s.packages++
	case "fail":
		s.packages++
		s.broken++
		fmt.Fprintf(s.out, "FAIL %-60s %7.1f s\n", e.Package, e.Elapsed)
		s.dump(testName{e.Package, ""})
		// A test that was running when the binary died has no event of its own.
		for name := range s.output {
			if name.pkg == e.Package && name.test != "" {
				s.failed++
				fmt.Fprintf(s.out, "FAIL %s %s: did not end\n", name.pkg, name.test)
				s.dump(name)
				delete(s.output, name)
			}
		}
	}
}

func (s *summary) dump(name testName) {
	for _, line := range s.output[name] {
		fmt.Fprint(s.out, "     ", line)
	}
}

// finish reports whether the run counts as passed. A run without any package is
// a failure: the pattern was wrong.
func (s *summary) finish() bool {
	if s.packages == 0 {
		fmt.Fprintln(s.out, "FAIL no package was tested")
	}
	if s.broken > 0 && s.failed == 0 {
		s.failed = s.broken // a build error or a crash outside any test
	}
	s.failed += len(s.refused)
	return s.packages > 0 && s.failed == 0
}
