package nodeagent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/snapshot"
)

// Nobody reads what the kernel recorded between two times of palisade apply; what is
// read after the second names the rule of the first.
func TestRulesThatLeftAreNamed(t *testing.T) {
	if !isolated(t) {
		return
	}
	twoPods(t)
	serveIn(t, "b")
	state := t.TempDir()
	pins := datapath.Config{PinDir: pinMount + "/palisade"}
	apply := func(set *snapshot.Set) {
		t.Helper()
		s := &Standalone{
			Node: node, StateDir: state, Host: host.Default(pins.PinDir), Looker: &looker{},
			Open:       func() (Datapath, error) { return OpenDatapath(pins, logr.Discard()) },
			Interfaces: map[facts.PodUID]string{"a": "v-a", "b": "v-b"},
		}
		plan, err := s.Plan(set)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := datapath.Remove(pins.PinDir); err != nil {
			t.Error(err)
		}
	}()
	read := func() (rules []string) {
		t.Helper()
		if err := ReadKernel(t.Context(), pins, state, false, func(f flows.Flow) error {
			rules = append(rules, f.Rule)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return rules
	}
	apply(shutB())
	connect(t, "isolated", "a", "10.5.0.12", false)
	apply(openB("first"))
	apply(openB("second")) // its rule has the slot of the one that left
	if rules := read(); len(rules) == 0 || rules[0] != "closed" {
		t.Errorf("denied by %q, want closed", rules)
	}

	// What is damaged names nothing, and is in nobody's way.
	apply(shutB())
	connect(t, "isolated again", "a", "10.5.0.12", false)
	if err := os.WriteFile(filepath.Join(state, departedFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if rules := read(); len(rules) == 0 || rules[0] != "closed" {
		t.Errorf("denied by %q, want closed", rules)
	}
	apply(openB("third"))
}
