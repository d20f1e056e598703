package manifests

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one reason why a manifest cannot be used.
type Problem struct {
	File   string
	Line   int    // where the document begins; 0 if the file as a whole is meant
	Object string // KIND NAMESPACE/NAME; may be empty
	Reason string
}

func (p Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Object != "" {
		where += ": " + p.Object
	}
	return where + ": " + oneLine(p.Reason)
}

// Problems are all that is wrong with what was read.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted orders problems by place; nil if there are none.
func (ps Problems) sorted() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return ps
}

func oneLine(s string) string {
	var parts []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}
