package compile

import (
	"slices"

	"palisade.dev/palisade/policy/model"
)

// painter finds out, for every protocol and port at once, which rule decides.
// All protocols and ports lie on one line: place 0 is every protocol that no
// rule names, then, track by track, the ports of each protocol that one does,
// cut wherever a rule begins or ends. A rule covers stretches of the line. Rules
// are asked in their order and each takes what is still open of its stretches,
// which a union-find structure lists without looking at what is taken; so the
// work is near-linear in rules and cuts.
type painter struct {
	rules  []offered
	tracks []track // by protocol
	width  int

	owner []*judged // who decides, by place; nil: nobody yet
	tier  links     // what is open in this tier
	own   links     // what is open to one policy of a level
	best  []*judged // who speaks for a level, by place
}

// offered is a rule with all the ports that it is about for one peer.
type offered struct {
	*judged
	ports []model.PortMatch
}

// track holds the ports of one protocol; each cut begins a stretch that ends
// before the next.
type track struct {
	proto model.Protocol
	first int // place of the first cut
	cuts  []uint32
}

func (p *painter) reset() {
	p.rules = p.rules[:0]
	p.tracks = p.tracks[:0]
}

// offer takes the next rule in order, with the names that the peer gives to
// ports. It reports false once no later rule can decide anything.
func (p *painter) offer(x *judged, named []model.NamedPort) bool {
	o := offered{x, x.ports}
	for _, m := range x.asks {
		for _, n := range named {
			if means(m, n) {
				o.ports = append(slices.Clip(o.ports), model.PortMatch{Proto: n.Proto, Lo: n.Port, Hi: n.Port})
			}
		}
	}
	if len(o.ports) == 0 {
		return true
	}
	p.rules = append(p.rules, o)
	// Outside the Namespace tier others of the level may still go before it.
	return !(x.policy.spec.Tier == model.TierNamespace && !x.audit && o.wide())
}

// wide reports whether a rule covers the whole line.
func (o *offered) wide() bool {
	return slices.ContainsFunc(o.ports, func(m model.PortMatch) bool { return m.Proto == model.ProtoAny })
}

// prepare cuts the line where the rules ask for it.
func (p *painter) prepare() {
	for i := range p.rules {
		for _, m := range p.rules[i].ports {
			if m.Proto == model.ProtoAny {
				continue
			}
			at, found := slices.BinarySearchFunc(p.tracks, m.Proto, func(t track, proto model.Protocol) int {
				return int(t.proto) - int(proto)
			})
			if !found {
				p.tracks = slices.Insert(p.tracks, at, track{proto: m.Proto, cuts: []uint32{0}})
			}
			t := &p.tracks[at]
			if m.Lo > 0 {
				t.cuts = append(t.cuts, uint32(m.Lo))
			}
			if m.Hi < 0xffff {
				t.cuts = append(t.cuts, uint32(m.Hi)+1)
			}
		}
	}
	p.width = 1
	for i := range p.tracks {
		t := &p.tracks[i]
		slices.Sort(t.cuts)
		t.cuts = slices.Compact(t.cuts)
		t.first = p.width
		p.width += len(t.cuts)
	}
}

// stretch returns the places from and up to, without, of a match.
func (p *painter) stretch(m model.PortMatch) (int, int) {
	if m.Proto == model.ProtoAny {
		return 0, p.width
	}
	at, _ := slices.BinarySearchFunc(p.tracks, m.Proto, func(t track, proto model.Protocol) int {
		return int(t.proto) - int(proto)
	})
	t := &p.tracks[at]
	from, _ := slices.BinarySearch(t.cuts, uint32(m.Lo))
	to, _ := slices.BinarySearch(t.cuts, uint32(m.Hi)+1)
	return t.first + from, t.first + to
}

// decide asks the rules, in the staged world or the enforced one, and returns
// who decides at each place.
func (p *painter) decide(staged bool) []*judged {
	p.owner = make([]*judged, p.width)
	rules := p.rules
	for len(rules) > 0 {
		tier := rules[0].policy.spec.Tier
		open := p.tier.reset(p.width, p.owner)
		n := 0
		for n < len(rules) && rules[n].policy.spec.Tier == tier {
			m := n + 1
			for m < len(rules) && rules[m].policy.spec.Tier == tier && rules[m].level == rules[n].level {
				m++
			}
			if open > 0 {
				open -= p.level(rules[n:m], staged)
			}
			n = m
		}
		rules = rules[n:]
	}
	return p.owner
}

// level asks the rules of one level and returns how many places they closed.
func (p *painter) level(rules []offered, staged bool) int {
	if rules[0].policy.spec.Tier != model.TierNamespace && rules[0].policy != rules[len(rules)-1].policy {
		return p.chorus(rules, staged)
	}
	closed := 0
	for i := range rules {
		if rules[i].audit && !staged {
			continue
		}
		closed += p.take(&p.tier, &rules[i], func(at int) { p.decideAt(at, rules[i].judged) })
	}
	return closed
}

// chorus asks several policies of equal priority: each speaks by its first rule
// that matches, and the strongest action among those decides.
func (p *painter) chorus(rules []offered, staged bool) int {
	p.best = slices.Grow(p.best[:0], p.width)[:p.width]
	clear(p.best)
	for len(rules) > 0 {
		n := 1
		for n < len(rules) && rules[n].policy == rules[0].policy {
			n++
		}
		if staged || !rules[0].audit {
			p.own.reset(p.width, p.owner)
			for i := range rules[:n] {
				p.take(&p.own, &rules[i], func(at int) {
					if p.best[at] == nil || rules[i].goesBefore(p.best[at]) {
						p.best[at] = rules[i].judged
					}
				})
			}
		}
		rules = rules[n:]
	}
	closed := 0
	for at := p.tier.next(0); at < p.width; at = p.tier.next(at + 1) {
		if p.best[at] != nil {
			p.tier.close(at)
			p.decideAt(at, p.best[at])
			closed++
		}
	}
	return closed
}

// take closes what is still open of a rule's stretches and visits it.
func (p *painter) take(open *links, o *offered, visit func(int)) int {
	n := 0
	for _, m := range o.ports {
		from, to := p.stretch(m)
		for at := open.next(from); at < to; at = open.next(at + 1) {
			open.close(at)
			visit(at)
			n++
		}
	}
	return n
}

// decideAt lets a rule decide; Pass leaves the place to the next tier.
func (p *painter) decideAt(at int, x *judged) {
	if x.action != model.ActionPass {
		p.owner[at] = x
	}
}

// links lists the open places of a line: each place leads to itself while it is
// open, and else towards the next one that is.
type links []int32

// reset opens all places that nobody owns and returns how many.
func (l *links) reset(width int, owner []*judged) int {
	*l = slices.Grow((*l)[:0], width+1)[:width+1]
	open := 0
	for i := range *l {
		(*l)[i] = int32(i)
		if i < width && owner[i] != nil {
			(*l)[i]++
		} else {
			open++
		}
	}
	return open - 1
}

// next is the first open place from at on; the width of the line if there is none.
func (l links) next(at int) int {
	root := at
	for int(l[root]) != root {
		root = int(l[root])
	}
	for int(l[at]) != root { // shorten the way for those who come after
		at, l[at] = int(l[at]), int32(root)
	}
	return root
}

func (l links) close(at int) { l[at] = int32(at + 1) }
