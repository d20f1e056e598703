package main

import (
	"errors"
	"testing"
)

// TestFlat: growth beyond what is allowed fails the benchmark, and so does a measurement
// that says nothing.
func TestFlat(t *testing.T) {
	at := func(judge, draw float64) measurement { return measurement{Judge: judge, Draw: draw} }
	for name, tc := range map[string]struct {
		few, many measurement
		err       error
	}{
		"flat":                          {at(250, 100), at(260, 100), nil},
		"just":                          {at(200, 100), at(250, 100), nil},
		"too much":                      {at(200, 100), at(251, 100), errGrows},
		"hidden by the choice of paths": {at(1100, 1000), at(1200, 1000), errGrows},
		"nothing was measured":          {at(100, 100), at(200, 100), errGrows},
	} {
		if err := flat(tc.few, tc.many); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
