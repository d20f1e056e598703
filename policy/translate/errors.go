package translate

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Problem is one thing that keeps an object from being translated.
type Problem struct {
	Object string // as messages print it: pnp/shop/db, pod/shop/web-1
	Field  string // path in the object: spec.ingress[0].from[1].ipBlock.cidr
	What   string // what is wrong
	Fix    string // what to do
}

// String is one line.
func (p Problem) String() string {
	return p.Object + ": " + p.Field + ": " + p.What + ": " + p.Fix
}

// Error lists what keeps one object from being translated, in the order in
// which the object lists it.
type Error struct {
	Problems []Problem
}

// Error is one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// problems collects the problems of one object.
type problems struct {
	object string
	list   []Problem
}

func (p *problems) add(at *field.Path, fix, format string, args ...any) {
	p.list = append(p.list, Problem{
		Object: p.object, Field: at.String(), What: fmt.Sprintf(format, args...), Fix: fix,
	})
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &Error{Problems: p.list}
}
