package nodeagent

import (
	"github.com/prometheus/client_golang/prometheus"

	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/runtime"
)

// collector reads the agent when it is asked, so that nothing has to be kept up.
type collector struct {
	agent *Agent
	hub   *flows.Hub
}

// Collector gives out the agent's metrics.
func (a *Agent) Collector(hub *flows.Hub) prometheus.Collector { return collector{a, hub} }

var (
	descGenerations = desc("generations_total", "Generations by what became of them.", "result")
	descFacts       = desc("facts_applied_total", "Changes of pods' addresses by what became of them.", "result")
	descConnected   = desc("controller_connected", "1 while there is a stream from the controller.")
	descCounter     = desc("generation_counter", "Counter of the generation in force, 0 if there is none.", "epoch", "term")
	descRealised    = desc("generation_realised_timestamp_seconds", "When the generation in force was realised by this process.")
	descBound       = desc("addresses_bound", "Addresses of pods of this node that are bound to an interface.")
	descMissing     = desc("pods_unbound", "Pods of this node whose interface is not known.")
	descFindings    = desc("host_findings", "What the node lacks, by severity.", "severity")
	descPackets     = desc("rule_packets_total", "Packets that a rule decided, since the rule came.", "tier", "policy", "rule")
	descBytes       = desc("rule_bytes_total", "Bytes of the packets that a rule decided, since the rule came.", "tier", "policy", "rule")
	descOperations  = desc("rule_operations_total", "Operations of processes that a runtime rule decided, since the rule came.", "tier", "policy", "rule")
	descObserved    = desc("rule_staged_operations_total", "Operations of processes that a runtime rule would have decided otherwise, since the rule came: rules with action Audit, and those of policies in mode Audit.", "tier", "policy", "rule")
	descRuleLost    = desc("rule_records_lost_total", "Records of a rule that were over its rate, since the rule came.", "tier", "policy", "rule")
	descBackend     = desc("runtime_backend", "1 for the means by which a section of runtime rules is enforced.", "section", "backend")
	descUnknown     = desc("runtime_unknown_pods", "1 for what becomes of what pods execute that the snapshot does not know (--unknown-pods).", "choice")
	descAudits      = desc("audits_total", "Comparisons of the kernel with the snapshot by what came of them; repaired: somebody had changed the kernel's tables or hooks.", "result")
	descFlows       = desc("flow_records_total", "Flow records by what became of them.", "result")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("palisade_nodeagent_"+name, help, labels, nil)
}

// Describe sends nothing: which label values there are is known when they are.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the agent.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	n := c.agent.Counts()
	counter(descGenerations, n.Realised, "realised")
	counter(descGenerations, n.Refused, "refused")
	counter(descFacts, n.FactsApplied, "applied")
	counter(descFacts, n.FactsFailed, "failed")
	counter(descAudits, n.AuditsClean, "clean")
	counter(descAudits, n.AuditsRepaired, "repaired")
	counter(descAudits, n.AuditsFailed, "failed")
	gauge(descConnected, truth(n.Connected))
	commit, _ := c.agent.holding.current()
	gauge(descCounter, float64(commit.Generation.Counter), number(commit.Generation.Epoch), number(commit.Generation.Term))
	if !n.LastRealised.IsZero() {
		gauge(descRealised, float64(n.LastRealised.UnixMilli())/1000)
	}
	bindings, _ := c.agent.o.Facts.Bindings()
	gauge(descBound, float64(len(bindings)))
	missing, findings := c.agent.lacks()
	gauge(descMissing, float64(missing))
	for s := host.Fatal; s <= host.Notice; s++ {
		gauge(descFindings, float64(len(host.Only(findings, s))), s.String())
	}
	for section, b := range c.agent.backends() {
		gauge(descBackend, 1, section.String(), string(b.Means))
	}
	if choice := c.agent.unknownPods(); choice != "" {
		gauge(descUnknown, 1, choice)
	}
	for k, t := range c.agent.byRule() {
		counter(descRuleLost, t.lost, k.tier, k.policy, k.rule)
		if runtime.IsRule(k.rule) {
			counter(descOperations, t.packets, k.tier, k.policy, k.rule)
			counter(descObserved, t.bytes, k.tier, k.policy, k.rule)
			continue
		}
		counter(descPackets, t.packets, k.tier, k.policy, k.rule)
		counter(descBytes, t.bytes, k.tier, k.policy, k.rule)
	}
	published, lost := c.hub.Counts()
	counter(descFlows, published, "published")
	counter(descFlows, lost, "lost")
}

func (a *Agent) lacks() (missing int, findings []host.Finding) {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	return len(a.status.missing), a.status.all()
}

type ruleLabels struct{ tier, policy, rule string }

type ruleTotals struct{ packets, bytes, lost uint64 }

// byRule adds up what has the same labels: a policy may have a rule of one name in
// both directions.
func (a *Agent) byRule() map[ruleLabels]ruleTotals {
	out := map[ruleLabels]ruleTotals{}
	for _, t := range a.counted.rules() {
		d := a.ruleOf(t.Attribution)
		k := ruleLabels{d.Tier, d.Policy, d.Rule}
		sum := out[k]
		out[k] = ruleTotals{sum.packets + t.Packets, sum.bytes + t.Bytes, sum.lost + uint64(t.Lost)}
	}
	return out
}
