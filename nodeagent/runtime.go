package nodeagent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Sections says by which means a kernel decides about each section of runtime rules.
type Sections map[runtime.Section]runtime.Backend

// runtimeKernel is a Datapath that also judges what processes do.
type runtimeKernel interface {
	// Backends are nil where nothing but packets is judged.
	Backends() Sections
	// Operations hands on what was reported, until ctx ends.
	Operations(ctx context.Context, a *Agent, hub *flows.Hub) error
	// UnknownPods says what becomes of pods that the snapshot does not know.
	UnknownPods() string
	// NetworkLacks is why packets are not judged; nil if they are.
	NetworkLacks() error
	// Collectors are the metrics of what is judged there.
	Collectors() []prometheus.Collector
}

// SetBackends records by which means runtime rules are enforced here, and what becomes
// of pods that the snapshot does not know.
func (a *Agent) SetBackends(s Sections, unknownPods string) {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	a.status.unknownPods = unknownPods
	if !maps.Equal(a.status.backends, s) {
		a.status.backends = s
		a.status.hurry()
	}
}

func (a *Agent) backends() Sections {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	return a.status.backends
}

func (a *Agent) unknownPods() string {
	a.status.mu.Lock()
	defer a.status.mu.Unlock()
	return a.status.unknownPods
}

// runtimes are the conditions about runtime rules; none where packets alone are judged.
func (s *status) runtimes() []*wire.Condition {
	var out []*wire.Condition
	for section := range runtime.Section(4) {
		b, ok := s.backends[section]
		if !ok {
			continue
		}
		name := section.String()
		kind := wire.ConditionRuntime + strings.ToUpper(name[:1]) + name[1:]
		c := condition(kind, b.Means != events.NoBackend, string(b.Means), b.Message(section))
		c.Unjudged = b.Unjudged
		out = append(out, c)
	}
	return out
}

// podNamer knows which pod a process is of, by what the kernel calls it.
type podNamer struct {
	holding *holding
	seen    <-chan struct{} // closed when the rows have changed
	pods    map[bpf.Key6]events.Pod
}

// pod is nil for what is the node's own.
func (p *podNamer) pod(uid bpf.Key6) *events.Pod {
	if uid == layout.PodKey(snapshot.RuntimeNodeUID) {
		return nil
	}
	select {
	case <-p.seen:
		p.pods = nil
	default:
	}
	if p.pods == nil {
		p.seen = p.holding.next()
		p.pods = p.holding.podsByKey()
	}
	if pod, ok := p.pods[uid]; ok {
		return &pod
	}
	return &events.Pod{UID: uidText(uid)}
}

// uidText is a UID as it is written.
func uidText(k bpf.Key6) string {
	h := fmt.Sprintf("%016x%016x", k.High, k.Low)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// podsByKey lists the node's pods by what the kernel calls them.
func (h *holding) podsByKey() map[bpf.Key6]events.Pod {
	h.mu.RLock()
	defer h.mu.RUnlock()
	out := map[bpf.Key6]events.Pod{}
	if h.set == nil {
		return out
	}
	for _, e := range h.set.Entries() {
		if e.Table != snapshot.TableLocal && e.Table != snapshot.TableRuntimePod {
			continue
		}
		row, err := snapshot.Decode(e)
		if err != nil {
			continue // cannot be: every row was decoded when it came
		}
		switch r := row.(type) {
		case snapshot.LocalRow:
			out[layout.PodKey(r.UID)] = events.Pod{Namespace: r.Namespace, Name: r.Name, UID: r.UID}
		case snapshot.RuntimePodRow:
			out[layout.PodKey(r.UID)] = events.Pod{Namespace: r.Namespace, Name: r.Name, UID: r.UID}
		}
	}
	return out
}

// recorder makes events of what the kernel reports about processes.
type recorder struct {
	node      string
	pods      podNamer
	names     *namer
	rule      func(bpf.RuleSlot, snapshot.Generation) datapath.Attribution
	processes *runtime.Processes
	commands  commandLines
	rate      uint32 // of rules that do not say
}

func newRecorder(a *Agent, p *Pinned) *recorder {
	return &recorder{
		node: a.o.Node, pods: podNamer{holding: a.holding}, names: newNamer(a.holding, a.o.Facts.Bindings),
		rule: p.Attribute, processes: runtime.NewProcesses(p.proc, p.Fingerprint, p.runtime.Redactor().Redact),
		commands: commandLines{holding: a.holding, fingerprint: p.Fingerprint, observed: &a.observed},
		rate:     p.runtime.EventsPerSecond(),
	}
}

// event makes the event of a record; none if its rule has made enough in this second.
func (r *recorder) event(rec runtime.Record) (events.Event, bool) {
	generation := snapshot.Generation{Epoch: rec.Epoch, Term: rec.Term, Counter: rec.Counter}
	e := events.Event{
		Time: rec.At, Verdict: flows.Allow, Node: r.node, Backend: runtime.BackendOf(rec.Backend),
		Generation: generation.String(),
		Process:    r.processes.Process(rec), Ancestors: r.processes.Ancestors(rec),
		Pod: r.pods.pod(bpf.Key6{High: rec.RuntimeEvent.Container.UIDHigh, Low: rec.RuntimeEvent.Container.UIDLow}),
	}
	if c := rec.Container; c.ID != "" {
		e.Container = &events.Container{ID: c.ID, Name: c.Name, Image: c.Image}
		if c.Sandbox {
			e.Container.Name = snapshot.RuntimePauseContainer
		}
	}
	r.processes.Note(rec)
	if rec.Kind == bpf.RuntimeEventExit {
		e.Type = events.TypeExit
		return e, true
	}
	enforced, staged := rec.Enforced(), rec.Staged()
	e.Decision = r.names.decision(r.rule(enforced.Slot, generation))
	e.Verdict = runtimeVerdict(enforced)
	if v := runtimeVerdict(staged); v != e.Verdict {
		e.Staged = r.names.decision(r.rule(staged.Slot, generation)).Stage(v)
	}
	r.object(&e, rec)
	row, ok := r.commands.judge(rec)
	if !ok {
		return e, true
	}
	e.Staged = r.names.decision(datapath.Attribution{Decision: datapath.Decision{Rule: row.ID}}).Stage(flows.Deny)
	return e, r.commands.observed.count(row.ID, rec.Time/uint64(time.Second), cmp.Or(row.RateLimit, r.rate))
}

func runtimeVerdict(w runtime.Word) flows.Verdict {
	switch {
	case w.Kill:
		return events.Kill
	case w.Deny:
		return flows.Deny
	}
	return flows.Allow
}

// object says what the operation was about.
func (r *recorder) object(e *events.Event, rec runtime.Record) {
	q := rec.Query
	origin, unresolvable := runtime.OriginOf(q.Origin), q.Flags&bpf.RuntimeUnresolvable != 0
	switch runtime.Section(q.Section) {
	case runtime.Executables:
		e.Type = events.TypeExec
		e.Exec = &events.Exec{Path: rec.Path, Unresolvable: unresolvable, InterpreterOf: rec.InterpreterOf, Origin: origin, Mapping: q.Flags&bpf.RuntimeMapping != 0}
		if c := rec.Command; c != nil {
			e.Exec.Arguments, e.Exec.Truncated = r.processes.Shown(c), c.Truncated
		}
	case runtime.Files:
		e.Type = events.TypeFile
		e.File = &events.File{
			Path: rec.Path, Target: rec.Target, Operations: runtime.Operations(runtime.Files, q.Operations), Origin: origin,
			Unresolvable: unresolvable, Owned: q.Owner == snapshot.OwnerOnly, Directory: q.Flags&bpf.RuntimeDirectory != 0,
		}
	case runtime.Privileges:
		e.Type = events.TypePrivilege
		e.Privilege = &events.Privilege{
			Operation:  strings.Join(runtime.Operations(runtime.Privileges, q.Operations), ","),
			Capability: runtime.Capability(q.Capabilities),
		}
	case runtime.Network:
		e.Type = events.TypeNetwork
		addr := runtime.Addr(q)
		end := r.names.end(netip.AddrPortFrom(addr, q.Port), q.Protocol)
		e.Network = &events.Network{
			Operation: strings.Join(runtime.Operations(runtime.Network, q.Operations), ","),
			Protocol:  flows.Protocol(q.Protocol), Address: addr, Port: q.Port, Unresolvable: unresolvable,
		}
		if end.Name != "" {
			e.Network.Peer = end.String()
		}
	}
}

// Backends are the means of this kernel; nil where packets alone are judged.
func (p *Pinned) Backends() Sections {
	switch {
	case p.runtime != nil:
		return p.runtime.Backends()
	case p.lacks != nil:
		out := Sections{}
		for s := range runtime.Section(4) {
			out[s] = runtime.Backend{Means: events.NoBackend, Detail: p.lacks.Error()}
		}
		return out
	}
	return nil
}

// UnknownPods says what becomes of pods that the snapshot does not know.
func (p *Pinned) UnknownPods() string {
	if p.runtime == nil {
		return ""
	}
	return string(p.runtime.Unknown())
}

// Collectors are the metrics of what processes are judged by.
func (p *Pinned) Collectors() []prometheus.Collector {
	if p.runtime == nil {
		return nil
	}
	return p.runtime.Collectors()
}

// NetworkLacks is why packets are not judged; nil if they are.
func (p *Pinned) NetworkLacks() error { return p.Network() }

// Operations hands on what processes did, until ctx ends.
func (p *Pinned) Operations(ctx context.Context, a *Agent, hub *flows.Hub) error {
	if p.runtime == nil {
		return nil
	}
	r := newRecorder(a, p)
	known := func(uid bpf.Key6) bool { pod := r.pods.pod(uid); return pod != nil && pod.Name != "" }
	return p.runtime.Read(ctx, known, func(rec runtime.Record) {
		if e, ok := r.event(rec); ok {
			hub.Publish(e)
		}
	})
}

// keyed looks again at processes that run already, once there are keys to remember what
// they run by.
func (p *Pinned) keyed(u layout.Update) error {
	if p.runtime == nil || p.complete || !slices.ContainsFunc(u.Delta.Upserts, snapshot.Entry.NeedsRuntime) {
		return nil
	}
	if err := p.runtime.BindExisting(); err != nil {
		return err
	}
	p.complete = true
	return nil
}
