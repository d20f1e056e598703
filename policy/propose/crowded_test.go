package propose

import (
	"fmt"
	"strings"
	"testing"

	"palisade.dev/palisade/api/v1alpha1"
)

// TestCrowded: a proposal that the API would refuse says so first, in whatever section.
func TestCrowded(t *testing.T) {
	rules := func(n int) (out []v1alpha1.SocketRule) {
		for i := range n {
			out = append(out, v1alpha1.SocketRule{RuntimeRule: v1alpha1.RuntimeRule{Name: v1alpha1.RuleName(fmt.Sprintf("r%d", i))}})
		}
		return out
	}
	for name, tc := range map[string]struct {
		rules int
		want  string // of the first note
	}{
		"as many as there may be": {maxRules, "operations seen: 0"},
		"one more":                {maxRules + 1, "network has 51 rules, and a policy may have 50 of a section"},
	} {
		t.Run(name, func(t *testing.T) {
			policy := v1alpha1.RuntimeRules{Network: &v1alpha1.SocketSection{Rules: rules(tc.rules)}}
			if p := Refine(&policy, nil, Sections{}); !strings.HasPrefix(p.Notes[0], tc.want) {
				t.Errorf("notes %q", p.Notes)
			}
		})
	}
	var seen []Observation
	for i := range 51 * 50 { // a rule holds 50 paths
		seen = append(seen, Observation{Pod: "a/b", Executable: fmt.Sprintf("/d%d/x", i)})
	}
	if p := Propose(seen, Sections{Executables: true}); !strings.HasPrefix(p.Notes[0], "executables has 51 rules") {
		t.Errorf("first note %q, of %d rules", p.Notes[0], len(p.Rules.Executables.Rules))
	}
}
