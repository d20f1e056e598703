package main

import (
	"slices"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
)

// processQuestion is an operation with the words for it.
type processQuestion struct {
	operation, object string
	op                model.Operation
}

// whereLinked is the question as the kernel asks it where directories that are
// links in most images are. It reports false if no path is in one.
func (q processQuestion) whereLinked() (processQuestion, bool) {
	found := false
	lead := func(path *string) {
		if _, other, ok := analysis.MergedLink(*path); ok {
			*path, found = other, true
		}
	}
	if q.op.Path != "" {
		lead(&q.op.Path)
		q.object = q.op.Path
	}
	lead(&q.op.Executable)
	q.op.Ancestry = slices.Clone(q.op.Ancestry)
	for i := range q.op.Ancestry {
		lead(&q.op.Ancestry[i])
	}
	return q, found
}

// asked are the questions of the kernel that stand for one: what is outside of the
// container has no path there, so that it is judged as what cannot be resolved, too.
func (q processQuestion) asked() []model.Operation {
	if q.op.Origin != model.OriginOutside {
		return []model.Operation{q.op}
	}
	nameless := q.op
	nameless.Unresolvable = true
	return []model.Operation{q.op, nameless}
}

// strictest is the answer to questions of which each may refuse.
func strictest(answers []model.Judgement) model.Judgement {
	out := answers[0]
	for _, a := range answers[1:] {
		if a.Enforced.Verdict > out.Enforced.Verdict {
			out.Enforced = a.Enforced
		}
		if a.Staged.Verdict > out.Staged.Verdict {
			out.Staged = a.Staged
		}
	}
	return out
}
