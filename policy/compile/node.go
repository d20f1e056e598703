package compile

import (
	"slices"

	"palisade.dev/palisade/policy/identity"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// node is a node with the rows that are its own: for each kind that it hosts,
// the rulesets that protect it; those rulesets, with their cells, the programs
// that these point to and the rules that the programs name; and, for each kind
// and part of the cluster, in which of the groups they are that these rulesets
// tell apart.
type node struct {
	name      model.NodeName
	rows      table
	endpoints int                // on it, and the node itself
	self      *identity.Resolved // the node's own endpoint, if there is one
	own       *kind              // its kind, or that of the external workload that the host is

	hosted   dict[*kind, *hosted]
	rulesets bag[*ruleset]  // by hosted kinds and directions
	programs bag[*program]  // by cells
	rules    bag[*ruleInfo] // by programs
	groups   bag[*group]    // by rulesets
	parts    []snapshot.EntryKey
	locals   claims[model.UID]
	runtime  nodeRuntime

	// Since the last commit.
	listed  bool                   // in c.dirtyNodes
	kinds   map[*kind]struct{}     // hosted kinds to look at
	peers   map[*kind]struct{}     // kinds whose row may change
	uids    map[model.UID]struct{} // endpoints whose local row may change
	turned  map[*ruleset]struct{}  // rulesets to install, perhaps, or uninstall
	patched []*ruleset             // installed rulesets whose cells changed
	recut   bool                   // a part-side group or its area changed
	weigh   bool                   // it may have more cells than before

	// What a task for this node alone leaves to do where nodes meet.
	later struct {
		rulesets []later[*ruleset]
		groups   []later[*group]
		runtime  []later[*runtimeRuleset]
		written  int
	}
}

// later is a count that has to wait until the node's task is over.
type later[T any] struct {
	of T
	by int
}

// meet does what tasks for the node left to do.
func (c *Compiler) meet(n *node) {
	for _, x := range n.later.rulesets {
		x.of.nodes.add(n, x.by)
	}
	for _, x := range n.later.groups {
		x.of.nodes.add(n, x.by)
	}
	for _, x := range n.later.runtime {
		x.of.nodes.add(n, x.by)
	}
	c.stats.RowsWritten += n.later.written
	n.later.rulesets, n.later.groups, n.later.runtime, n.later.written = nil, nil, nil, 0
}

// hosted is a kind of which a node hosts endpoints.
type hosted struct {
	count   int
	applied [2]*ruleset   // what the node's rows say
	runtime []runtimeSeat // the same of containers
}

// node returns a node, made if it is new.
func (c *Compiler) node(name model.NodeName) *node {
	n := c.nodes[name]
	if n == nil {
		n = &node{name: name, rows: newTable(), locals: newClaims[model.UID]()}
		n.runtime.pods = newClaims[string]()
		c.nodes[name] = n
	}
	c.touchNode(n)
	return n
}

func (c *Compiler) touchNode(n *node) {
	if !n.listed {
		n.listed = true
		c.dirtyNodes = append(c.dirtyNodes, n)
	}
}

// touchHosted says that the rulesets of a kind that the node hosts may change.
func (c *Compiler) touchHosted(n *node, k *kind) {
	c.touchNode(n)
	if n.kinds == nil {
		n.kinds = make(map[*kind]struct{})
	}
	n.kinds[k] = struct{}{}
	n.weigh = true
}

// touchPeer says that the groups in which the node sees a kind may change.
func (c *Compiler) touchPeer(n *node, k *kind) {
	c.touchNode(n)
	n.touchPeer(k)
}

func (n *node) touchPeer(k *kind) {
	if n.peers == nil {
		n.peers = make(map[*kind]struct{})
	}
	n.peers[k] = struct{}{}
}

// introduce writes whose snapshot it is.
func (n *node) introduce() {
	if n.name == "" {
		return
	}
	row := snapshot.MetaRow{Node: string(n.name)}
	if n.self != nil {
		row.PodRanges = slices.Clone(n.self.PodRanges)
		slices.SortFunc(row.PodRanges, snapshot.ComparePrefixes)
		row.PodRanges = slices.Compact(row.PodRanges)
	}
	n.rows.put(snapshot.Encode(row))
}

// host counts the endpoints of a kind on the node.
func (c *Compiler) host(n *node, k *kind, by int) {
	n.endpoints += by
	k.homes.add(n, by)
	h := n.hosted.get(k)
	if h == nil {
		h = &hosted{}
		n.hosted.put(k, h)
	}
	if h.count += by; h.count == 0 || h.count == by {
		c.touchHosted(n, k)
	}
}

// turn finds out which rulesets the node's kinds have now, and takes away those
// that they have no more, while these are still as the node has them.
func (n *node) turn() {
	for k := range n.kinds {
		h := n.hosted.get(k)
		var now [2]*ruleset
		var runtime []runtimeSeat
		if h.count > 0 {
			now, runtime = n.protecting(k), k.runtime
		}
		n.turnRuntime(k, h, runtime)
		if now == h.applied {
			if h.count == 0 {
				n.hosted.delete(k)
			}
			continue
		}
		for d := range now {
			if now[d] == h.applied[d] {
				continue
			}
			if now[d] != nil {
				n.rulesets.add(now[d], +1)
				n.mayTurn(now[d])
			}
			if old := h.applied[d]; old != nil {
				n.rulesets.add(old, -1)
				n.mayTurn(old)
			}
		}
		h.applied = now
		if h.count == 0 {
			n.hosted.delete(k)
			n.rows.delete(snapshot.KeyOf(snapshot.SubjectRow{Kind: k.id}))
		} else {
			n.write(snapshot.SubjectRow{Kind: k.id, Ingress: now[model.Ingress].id, Egress: now[model.Egress].id})
		}
	}
	n.kinds = nil
	for r := range n.turned {
		if r.nodes.has(n) && !n.rulesets.has(r) {
			n.uninstall(r)
		}
	}
	n.uninstallRuntime()
}

// protecting are the rulesets by which the node judges packets of a kind: none of its
// own, as it has rules about its own processes alone.
func (n *node) protecting(k *kind) [2]*ruleset {
	if n.own == k {
		return [2]*ruleset{}
	}
	return k.rulesets
}

func (n *node) touchLocal(uid model.UID) {
	if n.uids == nil {
		n.uids = make(map[model.UID]struct{})
	}
	n.uids[uid] = struct{}{}
}

func (n *node) mayTurn(r *ruleset) {
	if n.turned == nil {
		n.turned = make(map[*ruleset]struct{})
	}
	n.turned[r] = struct{}{}
}

func (n *node) write(row snapshot.Row) {
	n.rows.put(snapshot.Encode(row))
	n.later.written++
}
