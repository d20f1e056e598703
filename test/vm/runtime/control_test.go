//go:build guest

package runtime

import (
	"slices"
	"testing"
)

// TestControls: every attack works where no policy speaks against it, and no agent
// runs. One that does not would prove nothing by failing later.
func TestControls(t *testing.T) {
	spared := map[string]Type{}
	rows := append([]Row{{Name: "none", Attacks: []string{"work", "permit", "cost"}}}, Rows...)
	for _, kind := range slices.Concat(Types, defaults, exceptions) {
		r := kind.row("types")
		rows = append(rows, r)
		spared[r.Name] = kind
	}
	s := newStage(t, rows)
	for _, r := range rows {
		p := s.pod(controlOf(r))
		if kind := spared[r.Name]; kind.Spared != "" {
			if o, err := p.attacker.Attack(kind.Spared, r.Dir(kind.Attack)); err != nil || !o.Succeeded {
				t.Errorf("%s: %s: errno=%s %v: %s", r.Name, kind.Spared, o.Errno, err, o.Said)
			}
		}
		for _, name := range r.Attacks {
			o, err := s.attack(p, r, name)
			if err != nil || !o.Succeeded {
				t.Errorf("%s: %s: errno=%s %v: %s", r.Name, name, o.Errno, err, o.Said)
			}
		}
	}
}
