package analysis

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// Container is who does something: a container of a pod, or the node itself.
type Container struct {
	Node model.NodeName // may be empty if UID is not: then the node that knows the pod
	UID  string         // of a pod, or a static pod's hash; empty: processes of Node that are in no pod
	Name string         // model.PauseContainer is the sandbox
}

// runtimeRows are a node's rows about processes.
type runtimeRows struct {
	rules    map[snapshot.RuleID]snapshot.RuntimeRuleRow
	rulesets map[snapshot.RulesetID]snapshot.RuntimeRulesetRow
	subjects map[runtimeSubject]snapshot.RulesetID
	pods     map[string]snapshot.KindID
}

type runtimeSubject struct {
	kind      snapshot.KindID
	container string
}

func newRuntimeRows() runtimeRows {
	return runtimeRows{
		rules:    map[snapshot.RuleID]snapshot.RuntimeRuleRow{},
		rulesets: map[snapshot.RulesetID]snapshot.RuntimeRulesetRow{},
		subjects: map[runtimeSubject]snapshot.RulesetID{},
		pods:     map[string]snapshot.KindID{},
	}
}

// add takes a row in, if it is one of these tables.
func (t *runtimeRows) add(row snapshot.Row) bool {
	switch r := row.(type) {
	case snapshot.RuntimeRuleRow:
		t.rules[r.ID] = r
	case snapshot.RuntimeRulesetRow:
		t.rulesets[r.ID] = r
	case snapshot.RuntimeSubjectRow:
		t.subjects[runtimeSubject{r.Kind, r.Container}] = r.Ruleset
	case snapshot.RuntimePodRow:
		t.pods[r.UID] = r.Kind
	default:
		return false
	}
	return true
}

// JudgeRuntime answers an operation of a process in a container, by the rows of
// its node.
func (t *Tables) JudgeRuntime(who Container, op model.Operation) (model.Judgement, error) {
	n, kind, err := t.runtimeKind(who)
	if err != nil {
		return model.Judgement{}, err
	}
	ruleset, err := n.runtimeRuleset(kind, who.Name)
	if err != nil {
		return model.Judgement{}, fmt.Errorf("rows of node %q: container %q: %w", n.name, who.Name, err)
	}
	m := rowMatcher{op: &op, isPeer: func(peers snapshot.RulesetID) (bool, error) { return t.isPeer(n, peers, op.Address) }}
	enforced, err := n.decideRuntime(ruleset, m, false)
	if err != nil {
		return model.Judgement{}, fmt.Errorf("rows of node %q: %w", n.name, err)
	}
	staged, err := n.decideRuntime(ruleset, m, true)
	if err != nil {
		return model.Judgement{}, fmt.Errorf("rows of node %q: %w", n.name, err)
	}
	return model.Judgement{Enforced: enforced, Staged: staged}, nil
}

// runtimeKind finds the node that has the processes, and their kind. A node
// without rules about its own processes has none.
func (t *Tables) runtimeKind(who Container) (*node, snapshot.KindID, error) {
	if who.UID == "" {
		n := t.nodes[who.Node]
		if n == nil {
			return nil, snapshot.KindID{}, fmt.Errorf("no rows of node %q", who.Node)
		}
		return n, n.runtime.pods[snapshot.RuntimeNodeUID], nil
	}
	for _, name := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[name]
		if who.Node != "" && who.Node != name {
			continue
		}
		if local, ok := n.locals[model.UID(who.UID)]; ok {
			return n, local.Kind, nil
		}
		if kind, ok := n.runtime.pods[who.UID]; ok {
			return n, kind, nil
		}
	}
	return nil, snapshot.KindID{}, fmt.Errorf("pod %s: no node's rows say that it hosts it", who.UID)
}

// runtimeRuleset lists the rules of a container in their order; none is no rules.
func (n *node) runtimeRuleset(kind snapshot.KindID, container string) ([]snapshot.RuntimeRuleRow, error) {
	id, ok := n.runtime.subjects[runtimeSubject{kind, container}]
	if !ok && container != snapshot.RuntimePauseContainer {
		id, ok = n.runtime.subjects[runtimeSubject{kind, ""}]
	}
	if !ok {
		return nil, nil
	}
	ruleset, ok := n.runtime.rulesets[id]
	if !ok {
		return nil, fmt.Errorf("no runtime-ruleset row %x", id)
	}
	out := make([]snapshot.RuntimeRuleRow, len(ruleset.Rules))
	for i, rule := range ruleset.Rules {
		if out[i], ok = n.runtime.rules[rule]; !ok {
			return nil, fmt.Errorf("no runtime-rule row %x", rule)
		}
	}
	return out, nil
}

// isPeer reports whether an address is one of the peers that a ruleset stands for:
// whether it would be denied there.
func (t *Tables) isPeer(n *node, peers snapshot.RulesetID, addr netip.Addr) (bool, error) {
	if !addr.IsValid() {
		return false, nil
	}
	other, ok := t.addresses[addr]
	if !ok {
		other = snapshot.AddressRow{Addr: addr, Kind: snapshot.WorldKind}
	}
	program, err := n.program(peers, model.Egress, other)
	return program.Default.Deny, err
}

// decideRuntime asks the rules in their order: the first that takes part in the
// world and matches decides.
func (n *node) decideRuntime(rules []snapshot.RuntimeRuleRow, m rowMatcher, staged bool) (model.Decision, error) {
	op := m.op
	takesPart := func(r *snapshot.RuntimeRuleRow) bool {
		return model.Section(r.Section) == op.Section && (staged && r.Staged || !staged && r.Enforced)
	}
	refused := false // by some rule, if it could be held against the object
	for i := range rules {
		r := &rules[i]
		if !takesPart(r) {
			continue
		}
		refused = refused || refuses(r) && len(r.Arguments) == 0
		if op.Unresolvable {
			continue
		}
		if matches, err := m.matches(r); err != nil {
			return model.Decision{}, err
		} else if !matches {
			continue
		}
		by, ok := n.rules[r.ID]
		if !ok {
			return model.Decision{}, fmt.Errorf("no rule row %x", r.ID)
		}
		return model.Decision{Verdict: [...]model.Verdict{model.Allow, model.Deny, model.Kill}[r.Action], By: by}, nil
	}
	if refused && (op.Unresolvable || isOutside(op)) {
		return model.Decision{Verdict: model.Deny, By: model.Builtin(model.RuleUnresolvable)}, nil
	}
	return model.Decision{Verdict: model.Allow, By: model.Builtin(model.RuleDefault)}, nil
}
