package controllers

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/model"
)

var errNotReady = errors.New("what exists is not compiled yet")

// Readyz is a readiness check: a replica that has not seen the cluster answers
// nothing rightly.
func (s *System) Readyz(*http.Request) error {
	if !s.Engine.Ready() {
		return errNotReady
	}
	return nil
}

// Snapshots is what ServeHTTP writes.
type Snapshots struct {
	Leader  bool              `json:"leader"`
	Epoch   uint32            `json:"epoch"`
	Term    uint32            `json:"term"`
	Counter uint64            `json:"counter"`
	Nodes   map[string]string `json:"nodes"` // digest of what each node should enforce
}

// ServeHTTP tells which snapshots this replica holds, so that replicas can be
// compared.
func (s *System) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	out := Snapshots{Leader: s.leader.serving.Load(), Counter: uint64(s.Store.Counter()), Nodes: map[string]string{}}
	if out.Leader {
		out.Epoch, out.Term = s.leader.currentTerm()
	}
	for name, digest := range s.Store.Digests() {
		out.Nodes[string(name)] = digest.String()
	}
	s.tell(w, out)
}

// Rules is what ServeRules writes.
type Rules struct {
	Leader bool `json:"leader"`
	// Minutes is how far back Rules goes at most.
	Minutes int `json:"minutes"`
	// Rules are those that decided, by policy and name; only the leader knows them.
	Rules []RuleUse `json:"rules"`
}

// RuleUse is how often one rule decided.
type RuleUse struct {
	ID          string `json:"id"`
	Tier        string `json:"tier,omitempty"`
	Policy      string `json:"policy,omitempty"` // KIND/NAMESPACE/NAME
	Rule        string `json:"rule,omitempty"`
	Connections uint64 `json:"connections"`
	Packets     uint64 `json:"packets,omitempty"`
}

// ServeRules tells which rules decided lately, and how often.
func (s *System) ServeRules(w http.ResponseWriter, _ *http.Request) {
	out := Rules{Leader: s.leader.serving.Load(), Minutes: int(publish.Window.Minutes())}
	if out.Leader {
		out.Rules = []RuleUse{}
		for _, use := range s.Tracker.Rules() {
			out.Rules = append(out.Rules, ruleUse(use))
		}
		slices.SortFunc(out.Rules, func(a, b RuleUse) int {
			return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.ID, b.ID))
		})
	}
	s.tell(w, out)
}

func ruleUse(use publish.RuleUse) RuleUse {
	out := RuleUse{ID: hex.EncodeToString(use.ID[:]), Connections: use.Connections, Packets: use.Packets}
	if row := use.Row; row.Rule != "" {
		ref := model.PolicyRef{Kind: model.PolicyKind(row.PolicyKind), Namespace: row.Namespace, Name: row.Policy}
		out.Tier, out.Policy, out.Rule = model.Tier(row.Tier).String(), ref.String(), row.Rule
	}
	return out
}

func (s *System) tell(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(what); err != nil {
		s.leader.log.Error(err, "an answer cannot be written")
	}
}

// collector reads figures when they are asked for.
type collector struct{ system *System }

var (
	descCounter  = prometheus.NewDesc("palisade_snapshot_counter", "Counter of the newest published state.", nil, nil)
	descLeader   = prometheus.NewDesc("palisade_leader", "1 on the replica that serves agents.", nil, nil)
	descRows     = prometheus.NewDesc("palisade_rows", "Rows of all snapshots: common to all nodes once, own of all nodes together.", []string{"part"}, nil)
	descNodes    = prometheus.NewDesc("palisade_nodes", "Nodes by what is known of their agents.", []string{"state"}, nil)
	descLosses   = prometheus.NewDesc("palisade_agent_losses_total", "What agents lost, by kind.", []string{"kind"}, nil)
	descPolicies = prometheus.NewDesc("palisade_policies", "Policies of all kinds.", nil, nil)
	descWork     = prometheus.NewDesc("palisade_compile_work_total", "What compiling has done, by step: churn of pods of known kinds computes no ruleset.", []string{"step"}, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descCounter, descLeader, descRows, descNodes, descLosses, descPolicies, descWork} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.system
	leads := 0.0
	if s.leader.serving.Load() {
		leads = 1
	}
	gauge(descLeader, leads)
	gauge(descCounter, float64(s.Store.Counter()))
	gauge(descPolicies, float64(len(s.Engine.Policies())))
	common, own := s.Store.Rows()
	gauge(descRows, float64(common), "common")
	gauge(descRows, float64(own), "own")
	work := s.Engine.Work()
	for step, n := range map[string]int{
		"policies_loaded": work.PoliciesLoaded, "kinds_added": work.KindsAdded, "kinds_removed": work.KindsRemoved,
		"rulesets_computed": work.RulesetsComputed, "rows_written": work.RowsWritten,
	} {
		out <- prometheus.MustNewConstMetric(descWork, prometheus.CounterValue, float64(n), step)
	}
	for state, n := range c.nodes() {
		gauge(descNodes, float64(n), state)
	}
	for kind, n := range s.Tracker.Losses() {
		out <- prometheus.MustNewConstMetric(descLosses, prometheus.CounterValue, float64(n), kind)
	}
}

func (c *collector) nodes() map[string]int {
	out := map[string]int{"realized": 0, "behind": 0, "refused": 0, "disconnected": 0}
	tracked := c.system.Tracker.Nodes()
	for name := range c.system.Store.Digests() {
		n := tracked[name]
		counter, behind := c.system.Store.Progress(name, n.Held)
		switch {
		case !n.Connected:
			out["disconnected"]++
		case n.Refusal != nil:
			out["refused"]++
		case !n.Known || !behind.IsZero() || counter < c.system.Store.Counter():
			out["behind"]++
		default:
			out["realized"]++
		}
	}
	return out
}

// registerCollector leaves the first system of a process in charge: tests start
// several.
func registerCollector(s *System) {
	var already prometheus.AlreadyRegisteredError
	if err := metrics.Registry.Register(&collector{s}); err != nil && !errors.As(err, &already) {
		panic(err)
	}
}
