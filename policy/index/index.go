package index

import (
	"palisade.dev/palisade/policy/model"
)

// Place is where a target is: what queries ask about its surroundings.
type Place struct {
	Kind            model.EndpointKind
	Namespace       string
	NamespaceLabels Labels
}

// Index relates targets, each standing for a T, to queries, each standing for a
// Q. The zero Index is empty and ready. It is not safe for concurrent use.
type Index[T, Q any] struct {
	spaces [model.EndpointKinds]space[T, Q]
}

// Target is a target in an index.
type Target[T, Q any] struct {
	Of     T
	labels Labels
	room   *room[T, Q]
	hits   list[*Selected[T, Q]]
}

// Each visits every query that matches the target, in no order.
func (t *Target[T, Q]) Each(visit func(Q)) {
	for _, s := range t.hits.items {
		visit(s.Of)
	}
}

// Selected is a query in an index, with what it matches.
type Selected[T, Q any] struct {
	Of    Q
	query Query
	scope *scope[T, Q]
	hits  list[*Target[T, Q]]
}

// Len is how many targets the query matches.
func (s *Selected[T, Q]) Len() int { return s.hits.len() }

// Each visits every target that the query matches, in no order.
func (s *Selected[T, Q]) Each(visit func(T)) {
	for _, t := range s.hits.items {
		visit(t.Of)
	}
}

// space holds the targets and queries of one kind of endpoint.
type space[T, Q any] struct {
	rooms      map[string]*room[T, Q]
	scopes     map[string]*scope[T, Q]
	everywhere *scope[T, Q] // the scope without a condition, apart: it has no list of rooms
	all        shelf[*Target[T, Q]]

	roomsByName  map[string]*list[*room[T, Q]]
	roomShelf    shelf[*room[T, Q]]
	scopesByName map[string]*scope[T, Q]
	scopeBoard   board[*scope[T, Q]]
}

// room is one namespace as queries see it: a name and labels. While a namespace
// changes its labels, it may for a moment be two rooms.
type room[T, Q any] struct {
	key     string
	name    string
	labels  Labels
	targets shelf[*Target[T, Q]]
	scopes  list[*scope[T, Q]] // the scopes that hold the room
}

// scope is one condition on namespaces, shared by all queries that make it.
type scope[T, Q any] struct {
	key     string
	match   model.NamespaceMatch
	queries board[*Selected[T, Q]]
	rooms   list[*room[T, Q]] // the rooms that meet the condition; not kept for everywhere
}

// AddTarget puts a target in and relates it to the queries that match it.
func (x *Index[T, Q]) AddTarget(of T, at Place, labels Labels) *Target[T, Q] {
	s := &x.spaces[at.Kind]
	t := &Target[T, Q]{Of: of, labels: labels, room: s.enter(at)}
	t.room.targets.add(t, labels)
	s.all.add(t, labels)
	relate := func(q *Selected[T, Q]) {
		if Matches(q.query.Labels, labels) {
			t.hits.add(q)
			q.hits.add(t)
		}
	}
	t.room.scopes.each(func(sc *scope[T, Q]) { sc.queries.candidates(labels, relate) })
	if s.everywhere != nil {
		s.everywhere.queries.candidates(labels, relate)
	}
	return t
}

// RemoveTarget takes a target out.
func (x *Index[T, Q]) RemoveTarget(t *Target[T, Q], kind model.EndpointKind) {
	s := &x.spaces[kind]
	t.hits.each(func(q *Selected[T, Q]) { q.hits.remove(t) })
	s.all.remove(t, t.labels)
	t.room.targets.remove(t, t.labels)
	s.leave(t.room)
}

// AddQuery puts a query in and relates it to the targets that it matches.
func (x *Index[T, Q]) AddQuery(of Q, query Query) *Selected[T, Q] {
	s := &x.spaces[query.Kind]
	q := &Selected[T, Q]{Of: of, query: query, scope: s.open(query.Namespaces)}
	q.scope.queries.add(q, query.Labels)
	relate := func(t *Target[T, Q]) {
		if Matches(query.Labels, t.labels) {
			t.hits.add(q)
			q.hits.add(t)
		}
	}
	if q.scope == s.everywhere {
		s.all.candidates(query.Labels, relate)
	} else {
		q.scope.rooms.each(func(r *room[T, Q]) { r.targets.candidates(query.Labels, relate) })
	}
	return q
}

// RemoveQuery takes a query out.
func (x *Index[T, Q]) RemoveQuery(q *Selected[T, Q]) {
	s := &x.spaces[q.query.Kind]
	q.hits.each(func(t *Target[T, Q]) { t.hits.remove(q) })
	q.scope.queries.remove(q, q.query.Labels)
	s.close(q.scope)
}

// enter returns the room of a place, made if it is the first one there.
func (s *space[T, Q]) enter(at Place) *room[T, Q] {
	key := string(appendLabels(appendText(nil, at.Namespace), at.NamespaceLabels))
	if r := s.rooms[key]; r != nil {
		return r
	}
	r := &room[T, Q]{key: key, name: at.Namespace, labels: at.NamespaceLabels}
	if s.rooms == nil {
		s.rooms = make(map[string]*room[T, Q])
		s.roomsByName = make(map[string]*list[*room[T, Q]])
	}
	s.rooms[key] = r
	named := s.roomsByName[r.name]
	if named == nil {
		named = new(list[*room[T, Q]])
		s.roomsByName[r.name] = named
	}
	named.add(r)
	s.roomShelf.add(r, r.labels)
	hold := func(sc *scope[T, Q]) {
		sc.rooms.add(r)
		r.scopes.add(sc)
	}
	if sc := s.scopesByName[r.name]; sc != nil {
		hold(sc)
	}
	s.scopeBoard.candidates(r.labels, func(sc *scope[T, Q]) {
		if Matches(sc.match.Labels, r.labels) {
			hold(sc)
		}
	})
	return r
}

// leave forgets a room in which nobody is left.
func (s *space[T, Q]) leave(r *room[T, Q]) {
	if r.targets.all.len() > 0 {
		return
	}
	r.scopes.each(func(sc *scope[T, Q]) { sc.rooms.remove(r) })
	s.roomShelf.remove(r, r.labels)
	named := s.roomsByName[r.name]
	if named.remove(r); named.len() == 0 {
		delete(s.roomsByName, r.name)
	}
	delete(s.rooms, r.key)
}

// open returns the scope of a condition, made if it is the first of its kind.
func (s *space[T, Q]) open(match model.NamespaceMatch) *scope[T, Q] {
	key := string(appendMatch(nil, match))
	if sc := s.scopes[key]; sc != nil {
		return sc
	}
	sc := &scope[T, Q]{key: key, match: match}
	if s.scopes == nil {
		s.scopes = make(map[string]*scope[T, Q])
		s.scopesByName = make(map[string]*scope[T, Q])
	}
	s.scopes[key] = sc
	hold := func(r *room[T, Q]) {
		sc.rooms.add(r)
		r.scopes.add(sc)
	}
	switch {
	case match.Name != "":
		s.scopesByName[match.Name] = sc
		if named := s.roomsByName[match.Name]; named != nil {
			named.each(hold)
		}
	case len(match.Labels.Requirements) == 0:
		s.everywhere = sc
	default:
		s.scopeBoard.add(sc, match.Labels)
		s.roomShelf.candidates(match.Labels, func(r *room[T, Q]) {
			if Matches(match.Labels, r.labels) {
				hold(r)
			}
		})
	}
	return sc
}

// close forgets a scope that no query is left in.
func (s *space[T, Q]) close(sc *scope[T, Q]) {
	if !sc.queries.empty() {
		return
	}
	sc.rooms.each(func(r *room[T, Q]) { r.scopes.remove(sc) })
	switch {
	case sc.match.Name != "":
		delete(s.scopesByName, sc.match.Name)
	case sc == s.everywhere:
		s.everywhere = nil
	default:
		s.scopeBoard.remove(sc, sc.match.Labels)
	}
	delete(s.scopes, sc.key)
}
