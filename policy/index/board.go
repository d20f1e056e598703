package index

import "palisade.dev/palisade/policy/model"

// shelf holds things with labels, so that those that a selector could match are
// found without looking at all of them.
type shelf[T comparable] struct {
	all     list[T]
	byLabel map[Label]*list[T]
}

func (s *shelf[T]) add(thing T, labels Labels) {
	s.all.add(thing)
	if s.byLabel == nil && len(labels) > 0 {
		s.byLabel = make(map[Label]*list[T])
	}
	for _, l := range labels {
		file(s.byLabel, l, thing)
	}
}

func (s *shelf[T]) remove(thing T, labels Labels) {
	s.all.remove(thing)
	for _, l := range labels {
		unfile(s.byLabel, l, thing)
	}
}

// candidates visits a superset of what the selector matches: what stands under
// the values of the requirement that leaves the fewest, or else everything.
func (s *shelf[T]) candidates(sel model.Selector, visit func(T)) {
	var best *model.Requirement
	least := s.all.len()
	for i := range sel.Requirements {
		r := &sel.Requirements[i]
		if r.Op != model.In {
			continue
		}
		n := 0
		for _, v := range r.Values {
			if l := s.byLabel[Label{r.Key, v}]; l != nil {
				n += l.len()
			}
		}
		if n <= least {
			best, least = r, n
		}
	}
	if best == nil {
		s.all.each(visit)
		return
	}
	for _, v := range best.Values {
		if l := s.byLabel[Label{best.Key, v}]; l != nil {
			l.each(visit)
		}
	}
}

// board holds selectors, so that those that could match a set of labels are
// found without looking at all of them.
type board[S comparable] struct {
	rest     list[S] // those that require no label's value
	byAnchor map[Label]*list[S]
}

func (b *board[S]) add(s S, sel model.Selector) {
	r := anchor(sel)
	if r == nil {
		b.rest.add(s)
		return
	}
	if b.byAnchor == nil {
		b.byAnchor = make(map[Label]*list[S])
	}
	for _, v := range r.Values {
		file(b.byAnchor, Label{r.Key, v}, s)
	}
}

func (b *board[S]) remove(s S, sel model.Selector) {
	r := anchor(sel)
	if r == nil {
		b.rest.remove(s)
		return
	}
	for _, v := range r.Values {
		unfile(b.byAnchor, Label{r.Key, v}, s)
	}
}

func (b *board[S]) empty() bool { return b.rest.len() == 0 && len(b.byAnchor) == 0 }

// candidates visits a superset of the selectors that match the labels, none twice.
func (b *board[S]) candidates(labels Labels, visit func(S)) {
	b.rest.each(visit)
	if len(b.byAnchor) == 0 {
		return
	}
	for _, l := range labels {
		if found := b.byAnchor[l]; found != nil {
			found.each(visit)
		}
	}
}

// anchor is the requirement under which a selector is filed: the one with the
// fewest values.
func anchor(sel model.Selector) *model.Requirement {
	var best *model.Requirement
	for i := range sel.Requirements {
		r := &sel.Requirements[i]
		if r.Op == model.In && (best == nil || len(r.Values) < len(best.Values)) {
			best = r
		}
	}
	return best
}

func file[T comparable](m map[Label]*list[T], l Label, thing T) {
	at := m[l]
	if at == nil {
		at = new(list[T])
		m[l] = at
	}
	at.add(thing)
}

func unfile[T comparable](m map[Label]*list[T], l Label, thing T) {
	at := m[l]
	if at == nil {
		return
	}
	at.remove(thing)
	if at.len() == 0 {
		delete(m, l)
	}
}
