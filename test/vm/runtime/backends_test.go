//go:build guest

package runtime

import (
	"maps"
	"os"
	"slices"
	"testing"
)

// TestBackends: every type of rule with every action, by the means that the host says.
func TestBackends(t *testing.T) {
	planned, actions := Plan()
	rows := slices.Concat(actions, AcceptRows())
	s := newStage(t, rows)
	a := newAgent(t, t.TempDir())
	a.enforce(everything(t, rows))
	found := slices.Collect(maps.Values(backends(t)))
	if want := os.Getenv(BackendVariable); !slices.Contains(found, want) {
		t.Fatalf("the agent uses %v, and not %s", found, want)
	}
	s.actions(t, a, planned)
}
