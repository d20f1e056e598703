package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/propose"
	"palisade.dev/palisade/policy/translate"
)

// recording is what is taken from the events of a workload.
type recording struct {
	namespace, pod string
	containers     []string
	sieve          *sieve // nil: there is no policy yet

	seen     []propose.Observation
	events   int
	lost     uint64
	unnamed  int            // of containers that were not known yet
	pathless int            // of what no rule can name
	refused  map[string]int // by the rule that denied, or would
	strange  map[string]int // by an operation that no rule can name
}

func (r *recording) line(line []byte) error {
	return events.Read(line, func(e events.Event) error {
		r.events++
		r.take(e)
		return nil
	}, func(l flows.Losses) error {
		if r.mayMiss(l) {
			r.lost += l.Lost
		}
		return nil
	})
}

// mayMiss reports whether what was lost may be of these pods: not what rules about
// packets, or runtime policies of another namespace, had too many records of.
func (r *recording) mayMiss(l flows.Losses) bool {
	kind, name, _ := strings.Cut(l.Policy, "/")
	switch kind {
	case "rtp":
		return strings.HasPrefix(name, r.namespace+"/")
	case "cwp":
		return strings.Contains(l.Rule, "/") // SECTION/NAME
	case "", "builtin":
		return true
	}
	return false
}

func (r *recording) take(e events.Event) {
	if !r.isOurs(e) {
		return
	}
	if stop := r.stoppedBy(e); stop != "" {
		count(&r.refused, stop)
		return
	}
	seen, asked := observationsOf(e), operationsOf(e)
	for i, o := range seen {
		switch name := strangeIn(o); {
		case name != "":
			count(&r.strange, name)
			continue
		case isPathless(e):
			r.pathless++
			continue
		}
		if len(asked) == len(seen) && r.sieve != nil && r.sieve.covers(asked[i]) {
			d := r.sieve.ask(e, asked[i])
			if d.Verdict != model.Allow && !isIsolation(d.By.Rule) {
				count(&r.refused, fmt.Sprintf("%s %s would deny", d.By.Policy, d.By.Rule))
				continue
			}
			o.Known = d.Verdict == model.Allow
		}
		r.seen = append(r.seen, o)
	}
}

// isOurs reports whether an event is of the workload.
func (r *recording) isOurs(e events.Event) bool {
	if e.Pod == nil || e.Pod.Namespace != r.namespace || e.Type == events.TypeExit {
		return false
	}
	if ok, err := path.Match(r.pod, e.Pod.Name); err != nil || !ok {
		return false
	}
	name := ""
	if e.Container != nil {
		name = e.Container.Name
	}
	switch {
	case len(r.containers) == 0:
		return name != model.PauseContainer // of which only a policy that names it is
	case name == "":
		r.unnamed++
	}
	return slices.Contains(r.containers, name)
}

// stoppedBy is the rule that stopped an operation or would stop it, if one did. What
// the policy's own rules would do it is asked itself, as it is now.
func (r *recording) stoppedBy(e events.Event) string {
	switch {
	case e.Verdict != flows.Allow && !isIsolation(e.Rule):
		return fmt.Sprintf("%s %s denied", e.Policy, e.Rule)
	case e.Verdict == flows.Allow && e.Staged != nil && e.Staged.Verdict != flows.Allow && !isIsolation(e.Staged.Rule) &&
		(r.sieve == nil || e.Staged.Policy != r.sieve.ref):
		return fmt.Sprintf("%s %s would deny", e.Staged.Policy, e.Staged.Rule)
	}
	return ""
}

// isIsolation reports whether it is not a rule that denies, but that none accepts.
func isIsolation(rule string) bool {
	return strings.HasSuffix(rule, model.RuleIsolated) || rule == model.RuleUnresolvable
}

func isPathless(e events.Event) bool {
	return e.Exec != nil && (e.Exec.Unresolvable || e.Exec.Path == "") ||
		e.File != nil && (e.File.Unresolvable || e.File.Path == "") || e.Network != nil && e.Network.Unresolvable
}

func count(by *map[string]int, name string) {
	if *by == nil {
		*by = map[string]int{}
	}
	(*by)[name]++
}

// strangeIn names the operation of an observation that the API does not know: a rule
// that named it would be refused.
func strangeIn(o propose.Observation) string {
	for _, op := range o.Operations {
		if _, ok := translate.FileOperations[op]; !ok {
			return string(op)
		}
	}
	if _, ok := translate.PrivilegeOperations[o.Privilege]; !ok && o.Privilege != "" {
		return string(o.Privilege)
	}
	if _, ok := translate.SocketOperations[o.Socket]; !ok && o.Socket != "" {
		return string(o.Socket)
	}
	if o.Capability != "" && !slices.Contains(v1alpha1.Capabilities, o.Capability) {
		return "capability " + string(o.Capability)
	}
	return ""
}

// observationsOf are the operations of an event one by one, in the order of operationsOf.
func observationsOf(e events.Event) []propose.Observation {
	o := propose.Observation{Pod: e.Pod.Namespace + "/" + e.Pod.Name, Node: e.Node}
	switch {
	case e.Exec != nil:
		o.Executable, o.Origin, o.Mapping = e.Exec.Path, v1alpha1.Origin(e.Exec.Origin), e.Exec.Mapping
	case e.File != nil:
		o.File, o.Origin = e.File.Path, v1alpha1.Origin(e.File.Origin)
		var out []propose.Observation
		for _, op := range e.File.Operations {
			o.Operations = []v1alpha1.FileOperation{v1alpha1.FileOperation(op)}
			out = append(out, o)
		}
		if e.File.Target != "" {
			o.File, o.Operations = e.File.Target, []v1alpha1.FileOperation{v1alpha1.FileCreate}
			out = append(out, o)
		}
		return out
	case e.Privilege != nil:
		return privilegesOf(o, e.Privilege)
	case e.Network != nil:
		var out []propose.Observation
		o.Protocol, o.Address, o.Port = e.Network.Protocol, e.Network.Address, e.Network.Port
		for _, op := range e.Network.Operations() {
			o.Socket = v1alpha1.SocketOperation(op)
			out = append(out, o)
		}
		return out
	default:
		return nil
	}
	return []propose.Observation{o}
}

// privilegesOf are the privileges of one event; the capability is of that operation alone.
func privilegesOf(o propose.Observation, p *events.Privilege) []propose.Observation {
	var out []propose.Observation
	for _, op := range p.Operations() {
		o.Privilege, o.Capability = v1alpha1.PrivilegeOperation(op), ""
		if o.Privilege == v1alpha1.PrivilegeCapability {
			o.Capability = v1alpha1.Capability(p.Capability)
		}
		out = append(out, o)
	}
	return out
}

// notes say what the recording lacks.
func (r *recording) notes() []string {
	var out []string
	if r.lost > 0 {
		out = append(out, fmt.Sprintf("%d events were lost while recording: something may be missing", r.lost))
	}
	if r.unnamed > 0 {
		out = append(out, fmt.Sprintf("left out: %d operations of containers whose name was not known yet: what a container does first may be missing", r.unnamed))
	}
	if r.pathless > 0 {
		out = append(out, fmt.Sprintf("left out: %d operations on what has no path that a rule could name: default Deny of the section denies them", r.pathless))
	}
	for rule, n := range r.refused {
		out = append(out, fmt.Sprintf("left out: %d operations that %s", n, rule))
	}
	for name, n := range r.strange {
		out = append(out, fmt.Sprintf("left out: %d times %s, which no rule can name", n, name))
	}
	slices.Sort(out)
	return out
}
