package compile

import (
	"encoding/binary"
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// A rule about whom a process reaches may name peers by what they are and not by
// their addresses alone. Then its row names a ruleset of the network, egress, in
// which one rule denies exactly these peers: an answer Deny is "one of them". It
// is computed, shared and brought to nodes like all others.

// peersContent opens the key and the content of such a ruleset, where one of a
// kind of endpoints has its direction.
const peersContent = 3

// peersUse is a use of such a ruleset by a policy of a runtime ruleset.
type peersUse struct {
	ruleset *ruleset
	by      *policy
}

// needsIdentity reports whether peers are more than lists of addresses.
func needsIdentity(peers []model.Peer) bool {
	return slices.ContainsFunc(peers, func(p model.Peer) bool {
		return p.Kind == model.PeerEndpoints || p.Kind == model.PeerEntity
	})
}

// loadPeers resolves the peers of a rule; the policy's part keeps their uses.
func (c *Compiler) loadPeers(part *runtimePart, x *runtimeRule) {
	for i := range x.spec.Peers {
		g := c.groupOf(&x.spec.Peers[i])
		g.uses++
		part.groups = append(part.groups, g)
		x.groups = append(x.groups, g)
	}
	x.groups = sortGroups(x.groups)
	content := []byte{peersContent}
	for _, g := range x.groups {
		content = append(content, g.id[:]...)
	}
	x.peersID = snapshot.NewRulesetID(content)
}

// peersRuleset returns the ruleset of a rule's peers, made if nobody has it.
func (c *Compiler) peersRuleset(x *runtimeRule) *ruleset {
	key := []byte{peersContent}
	for _, g := range x.groups {
		key = binary.BigEndian.AppendUint32(key, g.seq)
	}
	if r := c.rulesets[string(key)]; r != nil {
		return r
	}
	p := &policy{spec: model.Policy{Tier: model.TierNamespace}}
	p.halves[model.Egress] = half{groups: x.groups, rules: []rule{{
		peers: x.groups, action: model.ActionDeny, info: c.defaultRule, ports: []model.PortMatch{{Proto: model.ProtoAny}},
	}}}
	r := &ruleset{key: string(key), id: x.peersID, direction: model.Egress, policies: []*policy{p}, ofPeers: true}
	c.rulesets[r.key] = r
	c.rebuild(r)
	return r
}

// recount finds out which rulesets of peers a runtime ruleset uses now.
func (c *Compiler) recount(r *runtimeRuleset) {
	was := r.peers
	r.peers = nil
	if r.seats > 0 {
		for _, p := range r.policies {
			for _, x := range p.runtime.rules {
				if x.groups != nil {
					x.peers = c.peersRuleset(x)
					r.peers = append(r.peers, peersUse{x.peers, p})
				}
			}
		}
	}
	for _, use := range r.peers {
		use.ruleset.users.add(use.by, +1)
		if use.ruleset.kinds++; use.ruleset.kinds == 1 && use.ruleset.stale {
			c.unfocused = append(c.unfocused, use.ruleset)
		}
	}
	for _, use := range was {
		use.ruleset.users.add(use.by, -1)
		if use.ruleset.kinds--; use.ruleset.kinds == 0 {
			c.idle.rulesets = append(c.idle.rulesets, use.ruleset)
		}
	}
	if len(r.peers) > 0 {
		r.nodes.each(func(n *node) {
			c.touchNode(n)
			n.weigh = true
		})
	}
}

// usePeers lets the node have the ruleset of a rule's peers as it is now, or none.
func (n *node) usePeers(x *runtimeRule, now *ruleset) {
	was := n.runtime.peers[x]
	if was == now {
		return
	}
	if was != nil {
		n.rulesets.add(was, -1)
		n.mayTurn(was)
	}
	if now == nil {
		delete(n.runtime.peers, x)
		return
	}
	if n.runtime.peers == nil {
		n.runtime.peers = make(map[*runtimeRule]*ruleset)
	}
	n.runtime.peers[x] = now
	n.rulesets.add(now, +1)
	n.mayTurn(now)
}
