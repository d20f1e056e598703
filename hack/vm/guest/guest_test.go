package guest

import "testing"

func TestParseExit(t *testing.T) {
	for name, tc := range map[string]struct {
		report string
		code   int
		ok     bool
	}{
		"what is written":     {ExitLine(7), 7, true},
		"after other lines":   {"noise\r\npalisade-vm: exit 137\r\n", 137, true},
		"nothing":             {"", 0, false},
		"cut short":           {"palisade-vm: ex", 0, false},
		"no number":           {"palisade-vm: exit soon\n", 0, false},
		"in the middle":       {"said palisade-vm: exit 0\n", 0, false},
		"the first is theirs": {"palisade-vm: exit 1\npalisade-vm: exit 2\n", 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			if code, ok := ParseExit(tc.report); code != tc.code || ok != tc.ok {
				t.Errorf("ParseExit = %d, %t, want %d, %t", code, ok, tc.code, tc.ok)
			}
		})
	}
}
