package nodeagent

import (
	"slices"
	"strings"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/snapshot"
)

// commandRule is an Audit rule with arguments, which the kernel leaves to the agent, and
// its rank among all rules of its rule set.
type commandRule struct {
	rank uint64
	snapshot.RuntimeRuleRow
}

// commandLines judges what was executed by the rules about command lines.
type commandLines struct {
	holding     *holding
	fingerprint func(path string) uint64
	seen        <-chan struct{} // closed when the rows have changed
	rules       map[snapshot.RulesetID][]commandRule
	subjects    map[snapshot.KindID]map[string]snapshot.RulesetID
	kinds       map[bpf.Key6]snapshot.KindID
	observed    *observed
}

// judge finds the rule that refuses, in the staged world, what the kernel's own rules
// leave to it there: the first of the rule set, if it stands ahead of the kernel's.
func (c *commandLines) judge(rec runtime.Record) (snapshot.RuntimeRuleRow, bool) {
	if rec.Command == nil || rec.Enforced().Deny {
		return snapshot.RuntimeRuleRow{}, false
	}
	c.refresh()
	sets := c.sets(rec.RuntimeEvent.Container)
	before, _, _ := bpf.RuntimeWordParts(rec.Answer.Staged)
	for _, id := range sets {
		for _, r := range c.rules[id] {
			// Of several rule sets, of a container without a name yet, the strictest
			// counts: ranks of one say nothing about another's.
			if len(sets) == 1 && r.rank > before {
				break
			}
			if c.matches(r, rec) {
				return r.RuntimeRuleRow, len(sets) == 1 || !rec.Staged().Deny
			}
		}
	}
	return snapshot.RuntimeRuleRow{}, false
}

// sets lists the rule sets with such rules that a container has.
func (c *commandLines) sets(container bpf.RuntimeContainer) []snapshot.RulesetID {
	subjects := c.subjects[c.kinds[bpf.Key6{High: container.UIDHigh, Low: container.UIDLow}]]
	var pending []snapshot.RulesetID
	for name, id := range subjects {
		switch {
		case name == snapshot.RuntimePauseContainer:
			if container.Name == bpf.RuntimeNameSandbox {
				return []snapshot.RulesetID{id}
			}
		case name != "" && layout.ContainerName(name) == container.Name:
			return []snapshot.RulesetID{id}
		default:
			pending = append(pending, id)
		}
	}
	switch container.Name {
	case bpf.RuntimeNameSandbox:
		return nil
	case bpf.RuntimeNamePending, bpf.RuntimeNamePod:
		slices.SortFunc(pending, func(a, b snapshot.RulesetID) int { return slices.Compare(a[:], b[:]) })
		return slices.Compact(pending)
	}
	if id, ok := subjects[""]; ok {
		return []snapshot.RulesetID{id}
	}
	return nil
}

// matches reports whether a rule is about what was executed, by whom and how.
func (c *commandLines) matches(r commandRule, rec runtime.Record) bool {
	return (r.Origins == 0 || r.Origins&rec.Query.Origin != 0) && aboutPath(r.RuntimeRuleRow, rec) &&
		c.from(r.RuntimeRuleRow, rec.Command.Chain) && hasArgument(r.Arguments, rec.Command)
}

// aboutPath: without an object a rule is about all of them. What has no path is no
// object of a rule.
func aboutPath(r snapshot.RuntimeRuleRow, rec runtime.Record) bool {
	if len(r.Paths)+len(r.Directories)+len(r.Globs) == 0 {
		return true
	}
	path := rec.Path
	if rec.Query.Flags&bpf.RuntimeUnresolvable != 0 {
		return false
	}
	return slices.Contains(r.Paths, path) ||
		slices.ContainsFunc(r.Directories, func(d string) bool {
			return path == d || strings.HasPrefix(path, strings.TrimSuffix(d, "/")+"/")
		}) ||
		slices.ContainsFunc(r.Globs, func(g snapshot.RuntimeGlob) bool { return glob(path, g.Prefix, g.Suffix) })
}

func glob(text, prefix, suffix string) bool {
	return len(text) >= len(prefix)+len(suffix) && strings.HasPrefix(text, prefix) && strings.HasSuffix(text, suffix)
}

// from: of whom too little is known, every rule that refuses is about.
func (c *commandLines) from(r snapshot.RuntimeRuleRow, chain *bpf.RuntimeChainOf) bool {
	if len(r.From) == 0 || chain == nil || chain.Flags&bpf.RuntimeChainOverflow != 0 {
		return true
	}
	ran := chain.Executable[:min(chain.Count, bpf.RuntimeChain)]
	if !r.FromDescendants {
		ran = ran[:min(len(ran), 1)]
	}
	return slices.ContainsFunc(r.From, func(path string) bool { return slices.Contains(ran, c.fingerprint(path)) })
}

// hasArgument: one argument after the program's own name is one of the rule's, in which
// ** stands for any text. One that was cut off is none.
func hasArgument(want []string, have *runtime.Command) bool {
	if len(have.Arguments) == 0 {
		return false
	}
	whole := have.Arguments[1:]
	if have.Truncated && len(whole) > 0 {
		whole = whole[:len(whole)-1]
	}
	return slices.ContainsFunc(whole, func(a string) bool {
		return slices.ContainsFunc(want, func(w string) bool {
			prefix, suffix, any := strings.Cut(w, "**")
			return a == w || any && glob(a, prefix, suffix)
		})
	})
}

// refresh looks at the rows again when they have changed.
func (c *commandLines) refresh() {
	select {
	case <-c.seen:
		c.rules = nil
	default:
	}
	if c.rules == nil {
		c.seen = c.holding.next()
		c.rules, c.subjects, c.kinds = c.holding.commandRules()
		c.observed.keep(c.rules)
	}
}

// commandRules lists the rules about command lines, by rule set and in order, the rule
// sets of each kind of pods, and the kinds of pods.
func (h *holding) commandRules() (map[snapshot.RulesetID][]commandRule, map[snapshot.KindID]map[string]snapshot.RulesetID, map[bpf.Key6]snapshot.KindID) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	sets, subjects, kinds := map[snapshot.RulesetID][]commandRule{}, map[snapshot.KindID]map[string]snapshot.RulesetID{}, map[bpf.Key6]snapshot.KindID{}
	if h.set == nil {
		return sets, subjects, kinds
	}
	rules := map[snapshot.RuleID]snapshot.RuntimeRuleRow{}
	each(h.set, snapshot.TableRuntimeRule, func(r snapshot.RuntimeRuleRow) {
		if len(r.Arguments) > 0 {
			rules[r.ID] = r
		}
	})
	if len(rules) == 0 {
		return sets, subjects, kinds
	}
	each(h.set, snapshot.TableRuntimeRuleset, func(s snapshot.RuntimeRulesetRow) {
		for i, id := range s.Rules {
			if r, ok := rules[id]; ok {
				sets[s.ID] = append(sets[s.ID], commandRule{uint64(i) + 1, r})
			}
		}
	})
	each(h.set, snapshot.TableRuntimeSubject, func(s snapshot.RuntimeSubjectRow) {
		if subjects[s.Kind] == nil {
			subjects[s.Kind] = map[string]snapshot.RulesetID{}
		}
		subjects[s.Kind][s.Container] = s.Ruleset
	})
	each(h.set, snapshot.TableRuntimePod, func(p snapshot.RuntimePodRow) { kinds[layout.PodKey(p.UID)] = p.Kind })
	each(h.set, snapshot.TableLocal, func(l snapshot.LocalRow) { kinds[layout.PodKey(l.UID)] = l.Kind })
	return sets, subjects, kinds
}

// each visits the rows of a table.
func each[R snapshot.Row](set *snapshot.Set, table snapshot.Table, visit func(R)) {
	set.Each(table, func(e snapshot.Entry) {
		// Every row was decoded when it came.
		if row, err := snapshot.Decode(e); err == nil {
			visit(row.(R))
		}
	})
}
