package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// module is the prefix that package paths have in the output of go test and
// not in the file of skips.
const module = "palisade.dev/palisade/"

// skip is one line of the file of skips.
type skip struct {
	pkg    string
	test   *regexp.Regexp
	reason string
}

type skips []skip

// reason returns why a test may be skipped, or "" if it may not.
func (s skips) reason(pkg, test string) string {
	pkg = strings.TrimPrefix(pkg, module)
	for _, l := range s {
		if l.pkg == pkg && l.test.MatchString(test) {
			return l.reason
		}
	}
	return ""
}

func readSkips(path string) (skips, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseSkips(path, string(data))
}

func parseSkips(path, text string) (skips, error) {
	var out skips
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("%s:%d: want PACKAGE TEST REASON, have %q", path, i+1, line)
		}
		re, err := regexp.Compile("^(?:" + fields[1] + ")$")
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		out = append(out, skip{pkg: fields[0], test: re, reason: strings.Join(fields[2:], " ")})
	}
	return out, nil
}
