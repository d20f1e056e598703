package nodeagent

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// TestBackends: what the controller and whoever looks at a node are told of how it judges
// processes: by what, what not, and what becomes of pods that it does not know.
func TestBackends(t *testing.T) {
	b := newBench(t)
	b.SetBackends(Sections{
		runtime.Executables: {Means: events.Signal, Detail: "lsm: none", Unjudged: snapshot.AskMapping},
		runtime.Files:       {Means: events.NoBackend, Detail: "lsm: none"},
	}, string(runtime.UnknownDeny))
	conditions := map[string]*wire.Condition{}
	for _, c := range b.Report().GetConditions() {
		conditions[c.GetType()] = c
	}
	if c := conditions[wire.ConditionRuntime+"Executables"]; !c.GetHolds() || c.GetReason() != "signal" || c.GetUnjudged() != snapshot.AskMapping || c.GetMessage() != "cannot judge mappings in every case; lsm: none" {
		t.Errorf("executables: %v", c)
	}
	if c := conditions[wire.ConditionRuntime+"Files"]; c.GetHolds() || c.GetReason() != "none" || c.GetMessage() != "lsm: none" {
		t.Errorf("files: %v", c)
	}
	if c := conditions[wire.ConditionRuntime+"Network"]; c != nil {
		t.Errorf("of a section that nothing is known of: %v", c)
	}

	reg := prometheus.NewRegistry()
	reg.MustRegister(b.Collector(flows.NewHub(b.o.Now)))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			have[name] = m.GetGauge().GetValue() == 1
		}
	}
	for _, want := range []string{
		"palisade_nodeagent_runtime_unknown_pods deny", "palisade_nodeagent_runtime_backend signal executables", "palisade_nodeagent_runtime_backend none files",
	} {
		if !have[want] {
			t.Errorf("metrics lack %s", want)
		}
	}
}
