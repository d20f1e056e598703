package nodeagent

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/host"
)

// audited is a datapath whose audits end as they are told to.
type audited struct {
	path
	drift string
	err   error
}

func (d *audited) Audit(context.Context) (string, error) { return d.drift, d.err }

func TestAudit(t *testing.T) {
	b := newBench(t)
	b.mustApply(t, full(1, set(node, "a")))
	if c := enforcing(t, b); !c.GetHolds() || strings.Contains(c.GetMessage(), "hook") {
		t.Errorf("before any audit: %v", c)
	}
	for i, step := range []struct {
		drift   string
		err     error
		reason  string // empty: it holds
		message string
	}{
		{"", nil, "", "every hook was attached"},
		{"", errors.New("attach input: EPERM"), string(host.ReasonUnverified), "attach input: EPERM"},
		{"links input", errors.New("attach input:\nEPERM"), string(host.ReasonUnverified), "links input"},
		{"links input", nil, "", "every hook was attached"},
	} {
		if ok := b.audit(t.Context(), &audited{drift: step.drift, err: step.err}); ok != (step.err == nil) {
			t.Errorf("step %d: audit %t", i, ok)
		}
		c := enforcing(t, b)
		if c.GetHolds() != (step.reason == "") || (step.reason != "" && c.GetReason() != step.reason) || !strings.Contains(c.GetMessage(), step.message) || strings.Contains(c.GetMessage(), "\n") {
			t.Errorf("step %d: condition %v, want reason %q with %q", i, c, step.reason, step.message)
		}
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(b.Collector(flows.NewHub(b.o.Now)))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "palisade_nodeagent_audits_total" {
			for _, m := range f.GetMetric() {
				have[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if want := map[string]float64{"clean": 1, "failed": 2, "repaired": 1}; !maps.Equal(have, want) {
		t.Errorf("audits %v, want %v", have, want)
	}
}
