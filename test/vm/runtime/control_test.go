//go:build guest

package runtime

import "testing"

// TestControls: every attack works where no policy speaks against it, and no agent
// runs. One that does not would prove nothing by failing later.
func TestControls(t *testing.T) {
	rows := append([]Row{{Name: "none", Attacks: []string{"work", "permit", "cost"}}}, Rows...)
	for _, kind := range Types {
		rows = append(rows, kind.row("types"))
	}
	s := newStage(t, rows)
	for _, r := range rows {
		p := s.pod(controlOf(r))
		for _, name := range r.Attacks {
			o, err := s.attack(p, r, name)
			if err != nil || !o.Succeeded {
				t.Errorf("%s: %s: errno=%s %v: %s", r.Name, name, o.Errno, err, o.Said)
			}
		}
	}
}
