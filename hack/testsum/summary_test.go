package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	const skipsFile = "# comment\nbpf  TestSCTP(/.*)?  this kernel has no SCTP\n"
	tests := map[string]struct {
		events string
		ok     bool
		counts [3]int // passed, failed, skipped
		prints string // a part of the digest
	}{
		"pass": {
			events: `{"Action":"pass","Package":"palisade.dev/palisade/a","Test":"TestX"}
{"Action":"pass","Package":"palisade.dev/palisade/a","Elapsed":1}`,
			ok: true, counts: [3]int{1, 0, 0}, prints: "ok   palisade.dev/palisade/a",
		},
		"a failure prints its output": {
			events: `{"Action":"output","Package":"p","Test":"TestX","Output":"have 1, want 2\n"}
{"Action":"fail","Package":"p","Test":"TestX"}
{"Action":"fail","Package":"p"}`,
			counts: [3]int{0, 1, 0}, prints: "have 1, want 2",
		},
		"a skip that is listed": {
			events: `{"Action":"skip","Package":"palisade.dev/palisade/bpf","Test":"TestSCTP/v6"}
{"Action":"pass","Package":"palisade.dev/palisade/bpf"}`,
			ok: true, counts: [3]int{0, 0, 1}, prints: "this kernel has no SCTP",
		},
		"a skip that is not listed": {
			events: `{"Action":"skip","Package":"palisade.dev/palisade/bpf","Test":"TestTCP"}
{"Action":"pass","Package":"palisade.dev/palisade/bpf"}`,
			counts: [3]int{0, 1, 1}, prints: "not listed",
		},
		"a build error": {
			events: `{"ImportPath":"p","Action":"build-output","Output":"x.go:1: undefined: y\n"}
{"Action":"fail","Package":"p"}`,
			counts: [3]int{0, 1, 0}, prints: "undefined: y",
		},
		"a test that died": {
			events: `{"Action":"output","Package":"p","Test":"TestX","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}`,
			counts: [3]int{0, 1, 0}, prints: "did not end",
		},
		"nothing ran":       {events: ``, prints: "no package"},
		"how much of FULL":  {events: `{"Action":"output","Package":"p","Test":"T","Output":"    x_test.go:1: ran 10 of 100\n"}`, prints: "ran 10 of 100"},
		"no JSON is passed": {events: `flag provided but not defined`, prints: "flag provided"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			allowed, err := parseSkips("skips", skipsFile)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			s := newSummary(&out, allowed)
			if err := s.read(strings.NewReader(tc.events)); err != nil {
				t.Fatal(err)
			}
			if ok := s.finish(); ok != tc.ok {
				t.Errorf("finish() = %v, want %v", ok, tc.ok)
			}
			if have := [3]int{s.passed, s.failed, s.skipped}; have != tc.counts {
				t.Errorf("passed, failed, skipped = %v, want %v", have, tc.counts)
			}
			if !strings.Contains(out.String(), tc.prints) {
				t.Errorf("the digest lacks %q:\n%s", tc.prints, out.String())
			}
		})
	}
}

func TestSkipsNeedAReason(t *testing.T) {
	if _, err := parseSkips("skips", "bpf TestX\n"); err == nil || !strings.Contains(err.Error(), "skips:1") {
		t.Errorf("a line without a reason: err = %v, want one that names skips:1", err)
	}
}
