package nodeagent

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Counts are what happened since the agent started.
type Counts struct {
	Realised, Refused, FactsApplied, FactsFailed uint64
	AuditsClean, AuditsRepaired, AuditsFailed    uint64
	Connected                                    bool
	LastRealised                                 time.Time
	LastRefusal                                  string
}

// status gathers what the agent knows about itself.
type status struct {
	now  func() time.Time
	soon chan struct{}

	mu          sync.Mutex
	findings    [sources][]host.Finding
	missing     []facts.Missing
	guarded     Protection
	backends    Sections
	unknownPods string // what becomes of pods that no snapshot knows
	holds       bool   // a snapshot is in force
	audited     bool   // the last audit found every hook attached, or attached it
	counts      Counts
	lost        uint64 // flow records lost since the last report
	factsFail   error
}

// source is who found something that the node lacks. Each has its own findings, and
// takes back only those.
type source int

const (
	fromHost     source = iota // package host
	fromCounters               // bypass
	fromAudit                  // auditing
	fromKernel                 // what the kernel cannot have
	sources
)

// all are the findings of every source.
func (s *status) all() []host.Finding { return slices.Concat(s.findings[:]...) }

func newStatus(now func() time.Time) *status { return &status{now: now, soon: make(chan struct{}, 1)} }

func (s *status) hurry() {
	select {
	case s.soon <- struct{}{}:
	default:
	}
}

func (s *status) applied(g snapshot.Generation, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.counts.Refused++
		s.counts.LastRefusal = fmt.Sprintf("%s: %v", g, err)
		return
	}
	s.counts.Realised++
	s.counts.LastRealised = s.now()
	if !s.holds {
		s.holds = true
		s.hurry()
	}
}

func (s *status) recovered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds = true
}

func (s *status) factsApplied(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.counts.FactsFailed++
	} else {
		s.counts.FactsApplied++
	}
	if (err == nil) != (s.factsFail == nil) {
		s.hurry()
	}
	s.factsFail = err
}

// SetFindings records what the host lacks; see host.Watch.
func (a *Agent) SetFindings(fs []host.Finding) { a.found(fromHost, fs) }

// found records the findings of one source, and tells of those that are new.
func (a *Agent) found(from source, fs []host.Finding) {
	s := a.status
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.findings[from]
	if slices.Equal(was, fs) {
		return
	}
	logFindings(a.o.Log, slices.DeleteFunc(slices.Clone(fs), func(f host.Finding) bool { return slices.Contains(was, f) }))
	s.findings[from] = fs
	if len(s.all()) == 0 {
		a.o.Log.Info("this node lacks nothing any more")
	}
	s.hurry()
}

// SetGuarded records what protects pods after a reboot.
func (a *Agent) SetGuarded(p Protection) {
	s := a.status
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guarded != p {
		s.guarded = p
		s.hurry()
	}
}

// setMissing records which pods of this node are not bound.
func (s *status) setMissing(m []facts.Missing) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changed = !slices.Equal(m, s.missing); changed {
		s.missing = m
		s.hurry()
	}
	return changed
}

// SetConnected records whether there is a stream.
func (a *Agent) SetConnected(ok bool) {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	a.status.counts.Connected = ok
}

// LostFlows records flow records that the kernel could not deliver.
func (a *Agent) LostFlows(n uint64) {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	a.status.lost += n
}

// Counts returns what happened since the start.
func (a *Agent) Counts() Counts {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	return a.status.counts
}

// ReportSoon receives when a condition changed.
func (a *Agent) ReportSoon() <-chan struct{} { return a.status.soon }

// Report makes the report to the controller and forgets what it counts.
func (a *Agent) Report() *wire.Report {
	s := a.status
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &wire.Report{Conditions: s.conditions()}
	if s.lost > 0 {
		r.Losses = append(r.Losses, &wire.Loss{Kind: "flows", Count: s.lost})
		s.lost = 0
	}
	var lost uint64
	if r.Counters, lost = a.counted.take(); lost > 0 {
		r.Losses = append(r.Losses, &wire.Loss{Kind: "counters", Count: lost})
	}
	return r
}

// reasonFine is the reason of a condition that holds.
const reasonFine = "AsExpected"

// messageLimit bounds a condition's message: the first things that lack say enough.
const messageLimit = 1024

func condition(kind string, holds bool, reason, message string) *wire.Condition {
	if len(message) > messageLimit {
		message = strings.ToValidUTF8(message[:messageLimit-3], "") + "..."
	}
	return &wire.Condition{Type: kind, Holds: holds, Reason: reason, Message: message}
}

func (s *status) conditions() []*wire.Condition {
	out := append([]*wire.Condition{s.enforcing(), s.bound()}, s.runtimes()...)
	reason := "CNINotChained"
	if s.guarded.Holds() {
		reason = reasonFine
	}
	return append(out, condition(wire.ConditionConfirmedBoot, s.guarded.Holds(), reason, s.guarded.String()))
}

func (s *status) enforcing() *wire.Condition {
	no := func(reason host.Reason, message string) *wire.Condition {
		return condition(wire.ConditionEnforcing, false, string(reason), message)
	}
	findings := s.all()
	worse := append(host.Only(findings, host.Fatal), host.Only(findings, host.Bypass)...)
	switch {
	case len(worse) > 0:
		return no(worse[0].Reason, host.Join(worse))
	case !s.holds:
		return no("NoSnapshot", errNoSnapshot.Error())
	case s.factsFail != nil:
		return no("FactsNotApplied", "addresses of pods were not applied: "+s.factsFail.Error())
	}
	if m := slices.DeleteFunc(slices.Clone(s.missing), func(m facts.Missing) bool { return !m.Bypass }); len(m) > 0 {
		return no(host.ReasonBypassed, describe(m))
	}
	if !s.audited {
		return condition(wire.ConditionEnforcing, true, reasonFine, "a snapshot is in force")
	}
	return condition(wire.ConditionEnforcing, true, reasonFine, "a snapshot is in force, and every hook was attached at the last audit")
}

// conditionBound: every pod of the node is bound to its interface, so that nobody
// can send in its name. Where it does not hold, policies are enforced all the same.
const conditionBound = "SendersChecked"

func (s *status) bound() *wire.Condition {
	if len(s.missing) > 0 {
		return condition(conditionBound, false, "InterfaceUnknown", describe(s.missing))
	}
	return condition(conditionBound, true, reasonFine, "every pod is bound to its interface")
}

func describe(missing []facts.Missing) string {
	parts := make([]string, len(missing))
	for i, m := range missing {
		parts[i] = m.Pod.String() + ": " + m.Reason
	}
	return "pods whose interface is not known: " + strings.Join(parts, "; ")
}
