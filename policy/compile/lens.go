package compile

import (
	"encoding/binary"
	"slices"

	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/snapshot"
)

// lens is what one or more rulesets tell apart: a list of groups, and every set
// of them that a peer can be in. Such a set is a kind-side set that some kind
// has, or the empty one, together with a part-side set that some part has, or
// the empty one: an agent may learn an address before the controller knows whose
// it is, so every pair counts.
type lens struct {
	key    string
	groups []*group    // sorted
	names  []*portName // whose groups are among groups, whichever there are

	kindSets dict[string, *halfSet]
	partSets dict[string, *halfSet]
	rulesets bag[*ruleset]

	// Since the last commit.
	changed bool
	touched []*halfSet // kind-side sets whose number of kinds changed
	recut   bool       // an area changed
	regroup bool       // groups changed
	added   []set
	removed []snapshot.SetID
}

// halfSet is a set of groups of one side.
type halfSet struct {
	key    string
	groups []*group // sorted
	kinds  int      // how many kinds are in exactly these groups
	old    bool     // it was there at the last commit
}

// set is a set of groups that a peer can be in.
type set struct {
	id     snapshot.SetID
	groups []*group // sorted
}

// lensOf returns the lens of groups, sorted, and of names.
func (c *Compiler) lensOf(groups []*group, names []string) *lens {
	key := make([]byte, 0, 4*len(groups)+16)
	for _, g := range groups {
		key = binary.BigEndian.AppendUint32(key, g.seq)
	}
	for _, n := range names {
		key = append(append(key, 0), n...)
	}
	if l := c.lenses[string(key)]; l != nil {
		return l
	}
	l := &lens{key: string(key), groups: slices.Clone(groups)}
	c.lenses[l.key] = l
	for _, name := range names {
		n := c.portName(name)
		n.lenses.add(l, 1)
		l.names = append(l.names, n)
		for i := range n.groups.items {
			l.groups = append(l.groups, n.groups.items[i].key)
		}
	}
	l.groups = sortGroups(l.groups)
	c.fillLens(l)
	c.stats.Lenses++
	return l
}

// fillLens finds the sets of a new lens.
func (c *Compiler) fillLens(l *lens) {
	inKind := make(map[*kind][]*group)
	for _, g := range l.groups {
		g.lenses.add(l, 1)
		if g.side == kindSide {
			g.each(func(k *kind) { inKind[k] = append(inKind[k], g) })
		}
	}
	l.kindSets.put("", &halfSet{kinds: 1})
	for _, groups := range inKind {
		c.countIn(l, groups, +1)
	}
	l.cut()
	// A ruleset that begins to use the lens takes all of its sets.
	l.touched = nil
	for i := range l.kindSets.items {
		l.kindSets.items[i].val.old = true
	}
}

// countIn says that by kinds more are in these groups of a lens.
func (c *Compiler) countIn(l *lens, groups []*group, by int) {
	if !slices.IsSortedFunc(groups, compareGroups) {
		slices.SortFunc(groups, compareGroups)
	}
	l.countSet(groups, by)
	// A node is in Host on the node that it is, and on the others it is not.
	if i := slices.IndexFunc(groups, func(g *group) bool { return g.host }); i >= 0 {
		if others := slices.Delete(slices.Clone(groups), i, i+1); len(others) > 0 {
			l.countSet(others, by)
		}
	}
	c.changeLens(l)
}

func (l *lens) countSet(groups []*group, by int) {
	var space [64]byte
	key := space[:0]
	for _, g := range groups {
		key = binary.BigEndian.AppendUint32(key, g.seq)
	}
	h := l.kindSets.get(string(key))
	if h == nil {
		h = &halfSet{key: string(key), groups: slices.Clone(groups)}
		l.kindSets.put(h.key, h)
	}
	if h.kinds == 0 || h.kinds+by == 0 {
		l.touched = append(l.touched, h)
	}
	h.kinds += by
}

// cut finds the part-side sets anew and returns those that are no more and those
// that are new.
func (l *lens) cut() (gone, added []*halfSet) {
	var groups []*group
	var areas []identity.Area
	for _, g := range l.groups {
		if g.side == partSide {
			groups = append(groups, g)
			areas = append(areas, g.area)
		}
	}
	before := l.partSets
	l.partSets = dict[string, *halfSet]{}
	keep := func(key string, members []int32) {
		if l.partSets.has(key) {
			return
		}
		h := before.get(key)
		if h == nil {
			h = &halfSet{key: key}
			for _, i := range members {
				h.groups = append(h.groups, groups[i])
			}
			added = append(added, h)
		}
		l.partSets.put(key, h)
	}
	keep("", nil)
	var key []byte
	for _, p := range identity.Partition(areas) {
		key = key[:0]
		for _, i := range p.Areas {
			key = binary.BigEndian.AppendUint32(key, groups[i].seq)
		}
		keep(string(key), p.Areas)
	}
	for i := range before.items {
		if !l.partSets.has(before.items[i].key) {
			gone = append(gone, before.items[i].val)
		}
	}
	return gone, added
}

func (c *Compiler) changeLens(l *lens) {
	if !l.changed {
		l.changed = true
		c.changedLenses = append(c.changedLenses, l)
	}
}

// extendLens adds a group that one of the lens's names now means. Nobody is in
// it yet.
func (c *Compiler) extendLens(l *lens, g *group) {
	l.groups = sortGroups(append(slices.Clone(l.groups), g))
	g.lenses.add(l, 1)
	l.regroup = true
	c.changeLens(l)
}

// shrinkLens takes a group away that nobody is in any more.
func (c *Compiler) shrinkLens(l *lens, g *group) {
	l.groups = slices.DeleteFunc(slices.Clone(l.groups), func(x *group) bool { return x == g })
	g.lenses.add(l, -1)
	l.regroup = true
	c.changeLens(l)
}

// size is how many sets the lens has.
func (l *lens) size() int {
	n := 0
	for i := range l.kindSets.items {
		if l.kindSets.items[i].val.kinds > 0 {
			n++
		}
	}
	return n * l.partSets.len()
}

// each visits all sets of the lens.
func (l *lens) each(visit func(set)) {
	for i := range l.kindSets.items {
		if h := l.kindSets.items[i].val; h.kinds > 0 {
			for j := range l.partSets.items {
				visit(join(h, l.partSets.items[j].val))
			}
		}
	}
}

// finish works out which sets were added and removed since the last commit.
func (l *lens) finish() {
	var gone, added []*halfSet
	if l.recut {
		gone, added = l.cut()
	}
	fresh := make(map[*halfSet]bool, len(added))
	for _, p := range added {
		fresh[p] = true
	}
	seen := make(map[*halfSet]bool, len(l.touched))
	for _, h := range l.touched {
		if seen[h] {
			continue
		}
		seen[h] = true
		switch {
		case h.kinds > 0 && !h.old:
			for j := range l.partSets.items {
				l.added = append(l.added, join(h, l.partSets.items[j].val))
			}
		case h.kinds == 0:
			l.kindSets.delete(h.key)
			if !h.old {
				continue
			}
			for j := range l.partSets.items {
				if p := l.partSets.items[j].val; !fresh[p] {
					l.removed = append(l.removed, join(h, p).id)
				}
			}
			for _, p := range gone {
				l.removed = append(l.removed, join(h, p).id)
			}
		}
	}
	for i := range l.kindSets.items {
		h := l.kindSets.items[i].val
		if !h.old {
			h.old = true
			continue
		}
		for _, p := range added {
			l.added = append(l.added, join(h, p))
		}
		for _, p := range gone {
			l.removed = append(l.removed, join(h, p).id)
		}
	}
	l.touched = nil
}

// settle ends the commit for the lens.
func (l *lens) settle() {
	l.changed, l.recut, l.regroup = false, false, false
	l.added, l.removed = nil, nil
}

func join(k, p *halfSet) set {
	groups := k.groups
	switch {
	case len(p.groups) == 0:
	case len(k.groups) == 0:
		groups = p.groups
	default:
		groups = slices.Concat(k.groups, p.groups)
		slices.SortFunc(groups, compareGroups)
	}
	return set{id: snapshot.SetOf(groupIDs(groups)), groups: groups}
}
