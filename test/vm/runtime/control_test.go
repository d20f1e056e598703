//go:build guest

package runtime

import "testing"

// TestControls: every attack works where no policy speaks against it. One that does
// not would prove nothing by failing later.
func TestControls(t *testing.T) {
	s := newStage(t, Rows)
	for _, r := range Rows {
		p := s.pod(controlOf(r))
		for _, name := range r.Attacks {
			o, err := s.attack(p, r, name)
			if err != nil || !o.Succeeded {
				t.Errorf("%s: %s: errno=%s %v: %s", r.Name, name, o.Errno, err, o.Said)
			}
		}
	}
}
