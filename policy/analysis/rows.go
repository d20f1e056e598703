package analysis

import (
	"fmt"
	"net/netip"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// addresses is the decoded common set.
type addresses map[netip.Addr]snapshot.AddressRow

func decodeCommon(common *snapshot.Set) (addresses, error) {
	out := addresses{}
	for _, e := range common.Entries() {
		row, err := snapshot.Decode(e)
		if err != nil {
			return nil, fmt.Errorf("common rows: %w", err)
		}
		a, ok := row.(snapshot.AddressRow)
		if !ok {
			return nil, fmt.Errorf("common rows: a %s row belongs to a node", row.Table())
		}
		out[a.Addr] = a
	}
	return out, nil
}

// cellKey is the key of a CellRow.
type cellKey struct {
	ruleset snapshot.RulesetID
	set     snapshot.SetID
}

// node is one node's own rows, decoded.
type node struct {
	name     model.NodeName
	rules    map[snapshot.RuleID]model.RuleRef
	programs map[snapshot.ProgramID]snapshot.ProgramRow
	rulesets map[snapshot.RulesetID]snapshot.RulesetRow
	cells    map[cellKey]snapshot.ProgramID
	kinds    map[snapshot.KindID][]snapshot.GroupID
	parts    map[netip.Prefix][]snapshot.GroupID
	subjects map[snapshot.KindID]snapshot.SubjectRow
	locals   map[model.UID]snapshot.LocalRow
	runtime  runtimeRows
}

func decodeNode(name model.NodeName, own *snapshot.Set) (*node, error) {
	n := &node{
		name:     name,
		rules:    map[snapshot.RuleID]model.RuleRef{},
		programs: map[snapshot.ProgramID]snapshot.ProgramRow{},
		rulesets: map[snapshot.RulesetID]snapshot.RulesetRow{},
		cells:    map[cellKey]snapshot.ProgramID{},
		kinds:    map[snapshot.KindID][]snapshot.GroupID{},
		parts:    map[netip.Prefix][]snapshot.GroupID{},
		subjects: map[snapshot.KindID]snapshot.SubjectRow{},
		locals:   map[model.UID]snapshot.LocalRow{},
		runtime:  newRuntimeRows(),
	}
	for _, e := range own.Entries() {
		row, err := snapshot.Decode(e)
		if err != nil {
			return nil, fmt.Errorf("rows of node %q: %w", name, err)
		}
		if err := n.add(row); err != nil {
			return nil, fmt.Errorf("rows of node %q: %w", name, err)
		}
	}
	return n, nil
}

func (n *node) add(row snapshot.Row) error {
	switch r := row.(type) {
	case snapshot.MetaRow:
		if r.Node != string(n.name) {
			return fmt.Errorf("these are node %q's", r.Node)
		}
	case snapshot.RuleRow:
		n.rules[r.ID] = model.RuleRef{
			Tier:   model.Tier(r.Tier),
			Policy: model.PolicyRef{Kind: model.PolicyKind(r.PolicyKind), Namespace: r.Namespace, Name: r.Policy},
			Rule:   r.Rule,
		}
	case snapshot.ProgramRow:
		n.programs[r.ID] = r
	case snapshot.RulesetRow:
		n.rulesets[r.ID] = r
	case snapshot.CellRow:
		n.cells[cellKey{r.Ruleset, r.Set}] = r.Program
	case snapshot.KindRow:
		n.kinds[r.ID] = r.Groups
	case snapshot.PartRow:
		n.parts[r.Prefix] = r.Groups
	case snapshot.SubjectRow:
		n.subjects[r.Kind] = r
	case snapshot.LocalRow:
		n.locals[model.UID(r.UID)] = r
	default:
		if n.runtime.add(row) {
			return nil
		}
		return fmt.Errorf("a %s row belongs to the common rows", row.Table())
	}
	return nil
}
