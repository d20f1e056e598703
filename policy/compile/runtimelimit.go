package compile

import (
	"cmp"
	"fmt"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// The bounds of what is judged for one container.
const (
	LimitRuntimeRules   Limit = "runtime rules of one container"
	LimitRuntimeFrom    Limit = "different executables in from of one container's rules"
	LimitRuntimeNetwork Limit = "network rules of one container"
	LimitRuntimeClauses Limit = "rules of one container about the same object"
	LimitRuntimeGlobs   Limit = "different lengths of one container's globs"
	LimitRuntimePerNode Limit = "entries of runtime rules per node"
	LimitContainers     Limit = "containers named for the same pods"
)

// ofRuntime reports whether the bound is one of what is judged for a container.
func (l Limit) ofRuntime() bool {
	switch l {
	case LimitRuntimeRules, LimitRuntimeFrom, LimitRuntimeNetwork, LimitRuntimeClauses, LimitRuntimeGlobs, LimitRuntimePerNode, LimitContainers:
		return true
	}
	return false
}

// standInRules is how many rules of a section stand-ins can add to a container:
// one of each world in each tier. They are kept free, so that a stand-in always
// fits.
const standInRules = 6

// runtimeWeight is how much of its bounds a ruleset takes, with who takes it.
type runtimeWeight struct {
	uses    []runtimeUse
	rules   int
	entries int     // that a node needs for it, about
	newest  *policy // of those that have rules in it
}

// runtimeUse is one bound, and the newest policy that takes part in its use.
type runtimeUse struct {
	limit  Limit
	most   int
	needed int
	where  string
	newest *policy
}

// weigh counts what a ruleset needs; stand-ins have room of their own.
func (c *Compiler) weigh(r *runtimeRuleset) *runtimeWeight {
	if r.weighed == nil {
		r.weighed = weighRules(r.inOrder(), c.options.RuntimeRules)
	}
	return r.weighed
}

func weighRules(rules []*runtimeRule, most int) *runtimeWeight {
	all := count{}
	network, from, prefixes, suffixes := count{}, tally[actor]{}, tally[int]{}, tally[int]{}
	objects, entries := tally[object]{}, 0
	for _, x := range rules {
		if x.standIn {
			continue
		}
		all.add(x.policy)
		entries += x.entries()
		if x.section == model.SectionNetwork {
			network.add(x.policy)
		}
		objectsOf(x, func(o object) { objects.add(o, x.policy) })
		if x.spec == nil {
			continue
		}
		for _, path := range x.spec.From {
			from.add(actor{path, x.spec.FromDescendants}, x.policy)
		}
		for _, g := range x.spec.Globs {
			prefixes.add(len(g.Prefix), x.policy)
			suffixes.add(len(g.Suffix), x.policy)
		}
	}
	worst, busiest := worstObject(objects)
	return &runtimeWeight{rules: all.n, entries: entries, newest: all.newest, uses: []runtimeUse{
		{LimitRuntimeRules, most, all.n, "one container", all.newest},
		{LimitRuntimeFrom, snapshot.MaxRuntimeFrom, len(from), "one container", from.newest()},
		{LimitRuntimeNetwork, snapshot.MaxRuntimeNetworkRules - standInRules, network.n, "one container", network.newest},
		{LimitRuntimeClauses, snapshot.MaxRuntimeClauses - standInRules, busiest.n, worst.String(), busiest.newest},
		{LimitRuntimeGlobs, snapshot.MaxRuntimeGlobLengths, len(prefixes), "what stands before **", prefixes.newest()},
		{LimitRuntimeGlobs, snapshot.MaxRuntimeGlobLengths, len(suffixes), "what stands after **", suffixes.newest()},
	}}
}

// actor is an executable that rules ask for; one that is asked for by itself and
// another time with its descendants counts twice.
type actor struct {
	path        string
	descendants bool
}

// object is what rules of a section are about, as text.
type object struct {
	section model.Section
	form    objectForm
	text    string
}

// objectForm tells equal text of different meaning apart.
type objectForm uint8

const (
	formAny objectForm = iota
	formPath
	formDirectory
	formGlob
)

func (o object) String() string {
	if o.form == formAny {
		return fmt.Sprintf("%s, any object", o.section)
	}
	return fmt.Sprintf("%s, %s", o.section, o.text)
}

func compareObjects(a, b object) int {
	return cmp.Or(cmp.Compare(a.section, b.section), cmp.Compare(a.form, b.form), cmp.Compare(a.text, b.text))
}

// objectsOf visits what a rule is about.
func objectsOf(x *runtimeRule, visit func(object)) {
	r := x.spec
	if r == nil || len(r.Paths)+len(r.Directories)+len(r.Globs) == 0 {
		visit(object{section: x.section})
		return
	}
	for _, path := range r.Paths {
		visit(object{x.section, formPath, path})
	}
	for _, dir := range r.Directories {
		visit(object{x.section, formDirectory, dir})
	}
	for _, g := range r.Globs {
		visit(object{x.section, formGlob, g.Prefix + "**" + g.Suffix})
	}
}

// count counts something and remembers the newest policy that added to it.
type count struct {
	n      int
	newest *policy
}

func (c *count) add(p *policy) {
	c.n++
	if c.newest == nil || compareAge(c.newest, p) < 0 {
		c.newest = p
	}
}

// tally counts different things.
type tally[K comparable] map[K]*count

func (t tally[K]) add(k K, p *policy) {
	c := t[k]
	if c == nil {
		c = &count{}
		t[k] = c
	}
	c.add(p)
}

// newest is the newest policy that added to any of the things.
func (t tally[K]) newest() *policy {
	var out *policy
	for _, c := range t {
		if out == nil || compareAge(out, c.newest) < 0 {
			out = c.newest
		}
	}
	return out
}

// worstObject is what the most rules are about, the first of them in order.
func worstObject(t tally[object]) (object, count) {
	var worst object
	var most count
	for o, c := range t {
		if c.n > most.n || c.n == most.n && compareObjects(o, worst) < 0 {
			worst, most = o, *c
		}
	}
	return worst, most
}
