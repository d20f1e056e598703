package controllers_test

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"palisade.dev/palisade/controllers"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
	"palisade.dev/palisade/test/poll"
)

// TestRulesThatDecide: what nodes count is told by rule, with names.
func TestRulesThatDecide(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.1.12.1", app("db"))
	w.pod("web", n1, "10.1.12.2", app("web"))
	c := w.start()
	p := w.isolate("db", "db", "web")
	w.create(p)
	a := c.agent(n1)
	w.run(a)
	w.expect(p, "Ready=True/Realized")
	unknown := snapshot.NewRuleID([]byte("nobody's"))
	report := &wire.Report{Counters: []*wire.Counter{{Rule: unknown[:], Connections: 1}}}
	rows, err := c.synced(a).Rows()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if r, ok := row.(snapshot.RuleRow); ok && r.Policy == "db" {
			report.Counters = append(report.Counters, &wire.Counter{Rule: r.ID[:], Connections: uint64(len(r.Rule))})
		}
	}
	a.Report(report)
	poll.Holds(t, "the report", func() bool { return len(c.Tracker.Rules()) == 3 })

	answer := httptest.NewRecorder()
	c.ServeRules(answer, httptest.NewRequest("GET", "/rules", nil))
	var got controllers.Rules
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	policy := "pnp/" + w.namespace + "/db"
	want := controllers.Rules{Leader: true, Minutes: 60, Rules: []controllers.RuleUse{
		{Connections: 1},
		{Tier: "Namespace", Policy: policy, Rule: "(isolated)", Connections: uint64(len("(isolated)"))},
		{Tier: "Namespace", Policy: policy, Rule: "from-web", Connections: uint64(len("from-web"))},
	}}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(controllers.RuleUse{}, "ID")); d != "" {
		t.Error(d)
	}
}
