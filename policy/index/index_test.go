package index

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"palisade.dev/palisade/policy/model"
)

func labels(pairs ...string) Labels {
	var out Labels
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Label{pairs[i], pairs[i+1]})
	}
	return out
}

func selector(list ...model.Requirement) model.Selector { return model.Selector{Requirements: list} }

func TestMatches(t *testing.T) {
	in := func(v ...string) model.Requirement { return model.Requirement{Key: "a", Op: model.In, Values: v} }
	notIn := model.Requirement{Key: "a", Op: model.NotIn, Values: []string{"x", "y"}}
	exists := model.Requirement{Key: "a", Op: model.Exists}
	absent := model.Requirement{Key: "a", Op: model.DoesNotExist}
	for name, tc := range map[string]struct {
		selector model.Selector
		labels   Labels
		want     bool
	}{
		"empty":                       {selector(), nil, true},
		"in":                          {selector(in("x", "z")), labels("a", "z"), true},
		"in, other value":             {selector(in("x", "z")), labels("a", "y"), false},
		"in, no label":                {selector(in("x")), labels("b", "x"), false},
		"in, empty value":             {selector(in("")), labels("a", ""), true},
		"in, empty is not absent":     {selector(in("")), nil, false},
		"not in":                      {selector(notIn), labels("a", "z"), true},
		"not in, a value of the list": {selector(notIn), labels("a", "y"), false},
		"not in, no label":            {selector(notIn), nil, true},
		"exists":                      {selector(exists), labels("a", ""), true},
		"exists, no label":            {selector(exists), labels("b", "a"), false},
		"absent":                      {selector(absent), labels("b", "a"), true},
		"absent, there":               {selector(absent), labels("a", ""), false},
		"all must hold":               {selector(exists, notIn), labels("a", "x"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Matches(tc.selector, tc.labels); got != tc.want {
				t.Errorf("%+v of %v: %v", tc.selector, tc.labels, got)
			}
		})
	}
}

// target is a target with what is known of it outside the index.
type target struct {
	name   string
	place  Place
	labels Labels
	in     *Target[*target, *query]
}

// query likewise.
type query struct {
	name string
	q    Query
	in   *Selected[*target, *query]
}

func (q *query) matches(t *target) bool {
	if q.q.Kind != t.place.Kind || !Matches(q.q.Labels, t.labels) {
		return false
	}
	if q.q.Namespaces.Name != "" {
		return q.q.Namespaces.Name == t.place.Namespace
	}
	return Matches(q.q.Namespaces.Labels, t.place.NamespaceLabels)
}

// TestIndexAgreesWithLooking adds and removes targets and queries at random and
// compares with asking every query about every target.
func TestIndexAgreesWithLooking(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var x Index[*target, *query]
	var targets []*target
	var queries []*query
	some := func(keys ...string) Labels {
		var out Labels
		for _, k := range keys {
			if r.IntN(2) == 0 {
				out = append(out, Label{k, fmt.Sprint(r.IntN(4))})
			}
		}
		return out
	}
	requires := func(keys ...string) model.Selector {
		var out model.Selector
		for _, k := range keys {
			if r.IntN(3) > 0 {
				continue
			}
			req := model.Requirement{Key: k, Op: model.Operator(r.IntN(4))}
			if req.Op == model.In || req.Op == model.NotIn {
				for v := range 4 {
					if r.IntN(3) == 0 {
						req.Values = append(req.Values, fmt.Sprint(v))
					}
				}
				if req.Values == nil {
					req.Values = []string{"1"}
				}
			}
			out.Requirements = append(out.Requirements, req)
		}
		return out
	}
	kind := func() model.EndpointKind {
		return []model.EndpointKind{model.EndpointPod, model.EndpointPod, model.EndpointExternal}[r.IntN(3)]
	}
	found := 0
	for step := range 6_000 {
		switch n := r.IntN(10); {
		case n < 4 && len(targets) < 150:
			y := &target{name: fmt.Sprint("t", step), labels: some("a", "b", "c")}
			y.place = Place{Kind: kind(), Namespace: fmt.Sprint(r.IntN(4)), NamespaceLabels: some("n", "m")}
			y.in = x.AddTarget(y, y.place, y.labels)
			targets = append(targets, y)
		case n < 6 && len(targets) > 0:
			i := r.IntN(len(targets))
			x.RemoveTarget(targets[i].in, targets[i].place.Kind)
			targets = slices.Delete(targets, i, i+1)
		case n < 8 && len(queries) < 100:
			y := &query{name: fmt.Sprint("q", step), q: Query{Kind: kind(), Labels: requires("a", "b", "c")}}
			if r.IntN(2) == 0 {
				y.q.Namespaces.Name = fmt.Sprint(r.IntN(4))
			} else {
				y.q.Namespaces.Labels = requires("n", "m")
			}
			y.in = x.AddQuery(y, y.q)
			queries = append(queries, y)
		case len(queries) > 0:
			i := r.IntN(len(queries))
			x.RemoveQuery(queries[i].in)
			queries = slices.Delete(queries, i, i+1)
		}
		if step%20 > 0 {
			continue
		}
		for _, q := range queries {
			var want, got []string
			for _, y := range targets {
				if q.matches(y) {
					want = append(want, y.name)
				}
			}
			q.in.Each(func(y *target) { got = append(got, y.name) })
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) || q.in.Len() != len(want) {
				t.Fatalf("step %d: %+v finds %v, looking finds %v", step, q.q, got, want)
			}
			found += len(want)
		}
		for _, y := range targets {
			var want, got []string
			for _, q := range queries {
				if q.matches(y) {
					want = append(want, q.name)
				}
			}
			y.in.Each(func(q *query) { got = append(got, q.name) })
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("step %d: %+v %v is found by %v, should be by %v", step, y.place, y.labels, got, want)
			}
		}
	}
	if found < 10_000 {
		t.Errorf("only %d matches in all: this proves little", found)
	}
	for _, y := range targets {
		x.RemoveTarget(y.in, y.place.Kind)
	}
	for _, q := range queries {
		x.RemoveQuery(q.in)
	}
	for kind := range x.spaces {
		s := &x.spaces[kind]
		if len(s.rooms)+len(s.scopes)+len(s.roomsByName)+len(s.scopesByName)+s.all.all.len()+len(s.all.byLabel)+len(s.roomShelf.byLabel) > 0 || s.everywhere != nil || !s.scopeBoard.empty() {
			t.Errorf("something is left after everything was removed: %+v", s)
		}
	}
}

func TestQueryKeys(t *testing.T) {
	in := func(key string, v ...string) model.Requirement {
		return model.Requirement{Key: key, Op: model.In, Values: v}
	}
	list := []Query{
		{},
		{Kind: model.EndpointNode},
		{Namespaces: model.NamespaceMatch{Name: "a"}},
		{Namespaces: model.NamespaceMatch{Labels: selector(in("a", "b"))}},
		{Labels: selector(in("a", "b"))},
		{Labels: selector(in("a", "b", "c"))},
		{Labels: selector(in("a", "b"), in("c", "d"))},
		{Labels: selector(in("ab"))},
		{Labels: selector(in("a", "b"), in("c"), in("d"))},
		{Labels: selector(model.Requirement{Key: "a", Op: model.NotIn, Values: []string{"b"}})},
	}
	seen := map[string]int{}
	for i, q := range list {
		key := string(q.AppendKey(nil))
		if j, dup := seen[key]; dup {
			t.Errorf("%+v and %+v have one key", list[j], q)
		}
		seen[key] = i
	}
}
