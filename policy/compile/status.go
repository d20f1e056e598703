package compile

import (
	"slices"

	"palisade.dev/palisade/policy/model"
)

// Subjects is who a policy protects.
type Subjects struct {
	Endpoints int
	Nodes     []model.NodeName // that host some of them, sorted
	Unhosted  int              // those of Endpoints that no node hosts
}

// Subjects tells whom a policy selects, whether it is in force or not; an
// unknown or expired policy selects nobody.
func (c *Compiler) Subjects(ref model.PolicyRef) Subjects {
	var out Subjects
	p := c.policies[ref]
	if p == nil || p.subject == nil {
		return out
	}
	seen := make(map[model.NodeName]struct{})
	p.eachSubject(func(k *kind) {
		if p.runtime == nil && !k.protectable() {
			return
		}
		for i := range k.homes.items {
			home, n := k.homes.items[i].key, k.homes.items[i].val
			name := home.name
			if home.own == k && home.self == nil {
				continue // the host of an external workload, which no node hosts
			}
			out.Endpoints += n
			if name == "" {
				out.Unhosted += n
				continue
			}
			if _, known := seen[name]; !known {
				seen[name] = struct{}{}
				out.Nodes = append(out.Nodes, name)
			}
		}
	})
	slices.Sort(out.Nodes)
	return out
}

// MissingGroups lists, sorted, the address groups that a policy names and that do
// not exist. Nobody is in them.
func (c *Compiler) MissingGroups(ref model.PolicyRef) []string {
	p := c.policies[ref]
	if p == nil {
		return nil
	}
	var out []string
	for d := range p.halves {
		for _, g := range p.halves[d].groups {
			if _, known := c.addressGroups[g.listed]; g.listed != "" && !known {
				out = append(out, g.listed)
			}
		}
	}
	if p.runtime != nil {
		for _, name := range p.runtime.listed {
			if _, known := c.addressGroups[name]; !known {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Stats counts the work of a compiler since it was made.
type Stats struct {
	PoliciesLoaded   int // policies translated into groups and rules
	KindsAdded       int
	KindsRemoved     int
	Lenses           int // lists of groups whose sets were found from scratch
	RulesetsComputed int // rulesets whose cells were all judged
	ProgramsComputed int // cells judged
	RowsWritten      int // rows encoded, on all nodes together
}

// Stats returns the counts.
func (c *Compiler) Stats() Stats { return c.stats }
