package compile

import (
	"testing"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// programsOf lists what a node's rulesets of a direction answer, for every set.
func programsOf(t *testing.T, c *Compiler, egress bool) []snapshot.ProgramRow {
	t.Helper()
	rows, err := c.Node("node-0000").Rows()
	if err != nil {
		t.Fatal(err)
	}
	rulesets, programs := map[snapshot.RulesetID]bool{}, map[snapshot.ProgramID]snapshot.ProgramRow{}
	for _, row := range rows {
		switch row := row.(type) {
		case snapshot.RulesetRow:
			rulesets[row.ID] = row.Egress == egress
		case snapshot.ProgramRow:
			programs[row.ID] = row
		}
	}
	var out []snapshot.ProgramRow
	for _, row := range rows {
		if cell, ok := row.(snapshot.CellRow); ok && rulesets[cell.Ruleset] {
			out = append(out, programs[cell.Program])
		}
	}
	return out
}

func ruleNames(t *testing.T, c *Compiler) map[snapshot.RuleID]string {
	t.Helper()
	rows, err := c.Node("node-0000").Rows()
	if err != nil {
		t.Fatal(err)
	}
	out := map[snapshot.RuleID]string{}
	for _, row := range rows {
		if r, ok := row.(snapshot.RuleRow); ok {
			out[r.ID] = r.Policy + "/" + r.Rule
		}
	}
	return out
}

// TestStandIn: what does not fit any more is closed where it had a say, and open
// where it had none.
func TestStandIn(t *testing.T) {
	asItIs := func(*model.Policy) {}
	for name, tc := range map[string]struct {
		change   func(*model.Policy)
		enforced bool // in ingress; it is staged in any case
		egress   bool // is denied too
	}{
		"it isolates":       {asItIs, true, false},
		"it only has rules": {func(p *model.Policy) { p.IsolateIngress = false }, true, false},
		"both directions":   {func(p *model.Policy) { p.IsolateEgress = true }, true, true},
		"the Admin tier": {func(p *model.Policy) {
			p.Ref.Kind, p.Ref.Namespace, p.Tier, p.IsolateIngress = model.KindClusterwide, "", model.TierAdmin, false
		}, true, false},
		"it is only observed": {func(p *model.Policy) { p.Mode = model.Audit }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := greedy("b", 6)
			tc.change(&p)
			c := New(Options{CellsPerRuleset: 10})
			c.PutEndpoint(newcomer("node-0000", nil))
			c.PutPolicy(p, 2)
			c.Commit()
			whole := c.Digest("node-0000")
			wide := greedy("a", 6)
			c.PutPolicy(wide, 1)
			if changes := c.Commit(); len(changes.Refused) != 1 || changes.Refused[0].Policy != p.Ref {
				t.Fatalf("refused %v", changes.Refused)
			}
			names := ruleNames(t, c)
			for _, row := range programsOf(t, c, false) {
				if got := names[row.Default.StagedRule]; got != "b/(over-capacity)" {
					t.Errorf("ingress is decided by %q of %v", got, names)
				}
			}
			for _, row := range programsOf(t, c, false) {
				a := row.Default
				if len(row.Segments) > 0 || !a.StagedDeny || !a.StagedLog || (a.Rule == a.StagedRule) != tc.enforced {
					t.Errorf("ingress answers %+v", row)
				}
			}
			for _, row := range programsOf(t, c, true) {
				if row.Default.Deny != tc.egress {
					t.Errorf("egress answers %+v", row)
				}
			}
			again := New(Options{CellsPerRuleset: 10})
			again.PutEndpoint(newcomer("node-0000", nil))
			again.PutPolicy(wide, 1)
			again.PutPolicy(p, 2)
			again.Commit()
			if again.Digest("node-0000") != c.Digest("node-0000") {
				t.Error("the way there shows in the rows")
			}
			// Edited while it is out, and back when there is room.
			p.Severity = "High"
			c.PutPolicy(p, 2)
			again.PutPolicy(p, 2)
			c.Commit()
			again.DeletePolicy(wide.Ref)
			again.Commit()
			again.PutPolicy(wide, 1)
			again.Commit()
			if again.Digest("node-0000") != c.Digest("node-0000") {
				t.Error("an edit of a policy that is out shows the way there")
			}
			p.Severity = ""
			c.PutPolicy(p, 2)
			c.DeletePolicy(wide.Ref)
			if changes := c.Commit(); len(changes.Refused) > 0 || c.Digest("node-0000") != whole {
				t.Errorf("with room: refused %v", changes.Refused)
			}
		})
	}
}
