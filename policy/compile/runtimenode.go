package compile

import (
	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/snapshot"
)

// nodeRuntime is what a node has of runtime rules.
type nodeRuntime struct {
	rulesets bag[*runtimeRuleset] // by containers of hosted kinds
	rules    bag[*runtimeRule]    // by rulesets
	peers    map[*runtimeRule]*ruleset
	pods     claims[string] // by UID or hash: pods that are not known by a local row
	builtin  bool           // it has the rows of the built-in rules

	// Since the last commit.
	uids    map[string]struct{}
	turned  map[*runtimeRuleset]struct{} // to install, perhaps, or uninstall
	patched []*runtimeRuleset            // installed ones whose rules changed
}

func (n *nodeRuntime) touchPod(uid string) {
	if n.uids == nil {
		n.uids = make(map[string]struct{})
	}
	n.uids[uid] = struct{}{}
}

func (n *nodeRuntime) mayTurn(r *runtimeRuleset) {
	if n.turned == nil {
		n.turned = make(map[*runtimeRuleset]struct{})
	}
	n.turned[r] = struct{}{}
}

// runtimeUIDs lists by what a pod is known to its node but by a local row.
func runtimeUIDs(r *identity.Resolved) []string {
	var out []string
	if r.HostNetwork && r.UID != "" {
		out = append(out, string(r.UID))
	}
	if r.ConfigHash != "" && r.ConfigHash != string(r.UID) {
		out = append(out, r.ConfigHash)
	}
	return out
}

// turnRuntime finds out which rulesets the containers of a kind have now.
func (n *node) turnRuntime(k *kind, h *hosted, now []runtimeSeat) {
	was := h.runtime
	h.runtime = now
	for len(was) > 0 || len(now) > 0 {
		switch {
		case len(was) == 0 || len(now) > 0 && now[0].container < was[0].container:
			n.sit(k, now[0].container, nil, now[0].ruleset)
			now = now[1:]
		case len(now) == 0 || was[0].container < now[0].container:
			n.sit(k, was[0].container, was[0].ruleset, nil)
			was = was[1:]
		default:
			if now[0].ruleset != was[0].ruleset {
				n.sit(k, now[0].container, was[0].ruleset, now[0].ruleset)
			}
			was, now = was[1:], now[1:]
		}
	}
}

// sit gives a container of a kind another ruleset; nil is none.
func (n *node) sit(k *kind, container string, was, now *runtimeRuleset) {
	if was != nil {
		n.runtime.rulesets.add(was, -1)
		n.runtime.mayTurn(was)
	}
	if now == nil {
		n.rows.delete(snapshot.KeyOf(snapshot.RuntimeSubjectRow{Kind: k.id, Container: container}))
		return
	}
	n.runtime.rulesets.add(now, +1)
	n.runtime.mayTurn(now)
	n.write(snapshot.RuntimeSubjectRow{Kind: k.id, Container: container, Ruleset: now.id})
}

// uninstallRuntime takes away the rulesets that nobody on the node has any more,
// as they were at the last commit.
func (n *node) uninstallRuntime() {
	for r := range n.runtime.turned {
		if !r.nodes.has(n) || n.runtime.rulesets.has(r) {
			continue
		}
		n.later.runtime = append(n.later.runtime, later[*runtimeRuleset]{r, -1})
		n.rows.delete(snapshot.KeyOf(snapshot.RuntimeRulesetRow{ID: r.id}))
		for _, x := range r.rules {
			n.useRuntimeRule(x, -1)
		}
	}
}

// refreshRuntime writes what changed of the node's runtime rows.
func (c *Compiler) refreshRuntime(n *node) {
	for _, r := range n.runtime.patched {
		n.rows.put(r.entry)
		for _, x := range r.rules {
			n.useRuntimeRule(x, +1)
		}
		for _, x := range r.before {
			n.useRuntimeRule(x, -1)
		}
	}
	n.runtime.patched = nil
	for r := range n.runtime.turned {
		if r.nodes.has(n) || !n.runtime.rulesets.has(r) {
			continue
		}
		n.later.runtime = append(n.later.runtime, later[*runtimeRuleset]{r, +1})
		n.rows.put(r.entry)
		for _, x := range r.rules {
			n.useRuntimeRule(x, +1)
		}
		n.later.written += 1 + len(r.rules)
	}
	n.runtime.turned = nil
	for uid := range n.runtime.uids {
		c.writeRuntimePod(n, uid)
	}
	n.runtime.uids = nil
	c.writeRuntimeNode(n)
	if judges := n.runtime.rulesets.len() > 0; judges != n.runtime.builtin {
		n.runtime.builtin = judges
		for _, x := range c.runtimeBuiltin {
			if judges {
				n.useRule(x, +1)
			} else {
				n.useRule(x, -1)
			}
		}
	}
}

// useRuntimeRule counts the rulesets of the node that a rule is in.
func (n *node) useRuntimeRule(x *runtimeRule, by int) {
	now := n.runtime.rules.add(x, by)
	switch {
	case now == 0:
		n.rows.delete(snapshot.KeyOf(snapshot.RuntimeRuleRow{ID: x.info.id}))
		n.useRule(x.info, -1)
		n.usePeers(x, nil)
	case now == by:
		n.rows.putShared(&x.row)
		n.useRule(x.info, +1)
		n.usePeers(x, x.peers)
	}
}

// useRule counts what names a rule on the node.
func (n *node) useRule(x *ruleInfo, by int) {
	now := n.rules.add(x, by)
	switch {
	case now == 0:
		n.rows.delete(snapshot.KeyOf(snapshot.RuleRow{ID: x.id}))
	case now == by:
		n.rows.putShared(&x.row)
	}
}

func (c *Compiler) writeRuntimePod(n *node, uid string) {
	r := n.runtime.pods.owner[uid]
	if r == nil {
		n.rows.delete(snapshot.KeyOf(snapshot.RuntimePodRow{UID: uid}))
		return
	}
	n.write(snapshot.RuntimePodRow{UID: uid, Kind: c.kinds[r.Kind].id, Namespace: r.ID.Namespace, Name: r.ID.Name})
}

// writeRuntimeNode says of which kind the node itself is, while some policy is
// about its own processes.
func (c *Compiler) writeRuntimeNode(n *node) {
	row := snapshot.RuntimePodRow{UID: snapshot.RuntimeNodeUID, Name: string(n.name)}
	if n.own == nil || n.name == "" {
		n.rows.delete(snapshot.KeyOf(row))
		return
	}
	if h := n.hosted.get(n.own); h == nil || len(h.runtime) == 0 {
		n.rows.delete(snapshot.KeyOf(row))
		return
	}
	row.Kind = n.own.id
	n.rows.put(snapshot.Encode(row))
}

// shareRuntime sums up beforehand what many nodes will take of a ruleset.
func (c *Compiler) shareRuntime(r *runtimeRuleset) {
	for _, x := range r.rules {
		c.shareRow(&x.row, r.installs)
		c.shareRow(&x.info.row, r.installs)
	}
}

// distributeRuntime updates the rulesets that changed and tells the nodes that
// have them, or will.
func (c *Compiler) distributeRuntime() {
	var installing []*runtimeRuleset
	for _, n := range c.dirtyNodes {
		for r := range n.runtime.turned {
			if !r.nodes.has(n) && n.runtime.rulesets.has(r) {
				if r.installs++; r.installs == 1 {
					installing = append(installing, r)
				}
			}
		}
	}
	for _, r := range c.changedRuntime {
		if r.seats == 0 {
			continue
		}
		c.updateRuntime(r)
		if !r.moved {
			continue
		}
		r.nodes.each(func(n *node) {
			c.touchNode(n)
			n.runtime.patched = append(n.runtime.patched, r)
		})
	}
	for _, r := range installing {
		c.shareRuntime(r)
	}
	for _, x := range c.rewritten {
		for _, n := range c.nodes {
			if n.runtime.rules.has(x) {
				c.touchNode(n)
				n.rows.put(x.row.entry)
				n.usePeers(x, x.peers)
			}
		}
	}
	c.rewritten = nil
}
