package compile

import (
	"slices"
	"strings"

	"palisade.dev/palisade/policy/model"
)

// overflowRuntime adds the runtime rulesets that do not fit.
func (c *Compiler) overflowRuntime(o *overflow) {
	c.overflowContainers(o)
	for _, r := range c.changedRuntime {
		if r.seats == 0 {
			continue
		}
		for _, use := range c.weigh(r).uses {
			if o.exceeds(use.limit, use.most, use.needed, use.where) {
				o.take(use.newest)
			}
		}
	}
}

// overflowContainers adds the kinds of whose containers too many are named.
func (c *Compiler) overflowContainers(o *overflow) {
	for _, k := range c.reseated {
		needed := 0
		var newest *policy
		for _, s := range k.runtime {
			if s.container == "" || s.container == model.PauseContainer {
				continue
			}
			needed++
			for _, p := range s.ruleset.policies {
				if len(p.runtime.containers) > 0 && !p.stands && (newest == nil || compareAge(newest, p) < 0) {
					newest = p
				}
			}
		}
		if newest != nil && o.exceeds(LimitContainers, c.options.Containers, needed, "one kind of pods") {
			o.take(newest)
		}
	}
}

// overflowRuntimeNode adds a node whose runtime rules do not fit together.
func (c *Compiler) overflowRuntimeNode(o *overflow, n *node) {
	needed := 0
	var newest *policy
	for r := range n.comingRuntime() {
		w := c.weigh(r)
		needed += w.entries
		if w.newest != nil && (newest == nil || compareAge(newest, w.newest) < 0) {
			newest = w.newest
		}
	}
	if newest != nil && o.exceeds(LimitRuntimePerNode, c.options.RuntimePerNode, needed, "node "+string(n.name)) {
		o.take(newest)
	}
}

// take remembers the newest policy that takes part in what does not fit.
func (o *overflow) take(p *policy) {
	if o.newest == nil || compareAge(o.newest, p) < 0 {
		o.newest = p
	}
}

// entries is about how many entries a node needs for a rule: for each object and
// its conditions, for each executable, for each directory that must not be
// renamed, and for each peer.
func (x *runtimeRule) entries() int {
	r := x.spec
	if r == nil {
		return 1
	}
	n := 2*max(1, len(r.Paths)+len(r.Directories)+len(r.Globs)) + len(r.From) + len(r.Ports)/8
	for i := range r.Peers {
		n += 1 + len(r.Peers[i].Block.Except)/2
		if r.Peers[i].Kind == model.PeerAddressGroup {
			n += addressGroupEntries
		}
	}
	if x.section == model.SectionFiles && r.Action.Verdict() != model.Allow {
		for _, path := range slices.Concat(r.Paths, r.Directories) {
			n += strings.Count(path, "/")
		}
		for _, g := range r.Globs {
			n += strings.Count(g.Prefix, "/")
		}
	}
	return n
}

// addressGroupEntries is what an address group may come to take, however many
// addresses it has now.
const addressGroupEntries = 500
