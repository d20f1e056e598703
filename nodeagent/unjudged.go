package nodeagent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/snapshot"
)

// lookAt adds to the findings of the host what this kernel does not judge: packets, or
// some of the plan's rules about processes. Nobody else would tell.
func (p *Plan) lookAt(dp Datapath, ofHost []host.Finding) error {
	k, ok := dp.(runtimeKernel)
	if !ok {
		return nil
	}
	found := slices.Concat(unjudged(k.Backends(), p.set), unprevented(k.Backends(), p.set, p.s.MustPrevent), withoutPackets(k.NetworkLacks()))
	p.Findings = slices.Concat(ofHost, found)
	if around := host.Only(found, host.Bypass); len(around) > 0 && !p.s.AllowBypass {
		return fmt.Errorf("%w: %s", ErrHost, host.Join(around))
	}
	return nil
}

// unjudged are the findings of a kernel that does not judge some sections of which a
// snapshot has rules, or not everything there.
func unjudged(backends Sections, set *snapshot.Set) []host.Finding {
	asked := map[runtime.Section]bool{}
	for _, e := range set.Entries() {
		if e.Table != snapshot.TableRuntimeRule {
			continue
		}
		if row, err := snapshot.Decode(e); err == nil { // what cannot be read is refused elsewhere
			asked[runtime.Section(row.(snapshot.RuntimeRuleRow).Section)] = true
		}
	}
	var out []host.Finding
	for _, s := range slices.Sorted(maps.Keys(asked)) {
		b, known := backends[s]
		if !known || b.Means.Prevents() && b.Unjudged == 0 {
			continue
		}
		f := host.Finding{
			Severity: host.Notice, Reason: host.ReasonKernel, Where: "this kernel, by " + string(b.Means),
			What: fmt.Sprintf("section %s is not judged in full: %s", s, strings.ReplaceAll(b.Message(s), "\n", "; ")),
			Mend: mendKernel,
		}
		if b.Means == events.NoBackend {
			f.Severity, f.What = host.Bypass, fmt.Sprintf("section %s is not judged: %s", s, strings.ReplaceAll(b.Detail, "\n", "; "))
		}
		out = append(out, f)
	}
	return out
}

const mendKernel = "boot a kernel that has BPF LSM, with bpf in lsm="

// unprevented are the findings of a kernel that only answers, after the fact, what some
// policies demand to be prevented.
func unprevented(backends Sections, set *snapshot.Set, must map[string]bool) []host.Finding {
	names := map[snapshot.RuleID]snapshot.RuleRow{}
	bySection := map[runtime.Section][]snapshot.RuleID{}
	for _, e := range set.Entries() {
		row, err := snapshot.Decode(e)
		if err != nil {
			continue // is refused elsewhere
		}
		switch r := row.(type) {
		case snapshot.RuleRow:
			names[r.ID] = r
		case snapshot.RuntimeRuleRow:
			if r.Action != snapshot.RuntimeAccept {
				bySection[runtime.Section(r.Section)] = append(bySection[runtime.Section(r.Section)], r.ID)
			}
		}
	}
	var out []host.Finding
	for _, s := range slices.Sorted(maps.Keys(bySection)) {
		b, known := backends[s]
		if !known || b.Means.Prevents() || b.Means == events.NoBackend { // of none all is told
			continue
		}
		var rules []string
		for _, id := range bySection[s] {
			if d := flows.DecisionOf(names[id]); must[d.Policy] {
				rules = append(rules, d.Policy+" "+d.Rule)
			}
		}
		if len(rules) == 0 {
			continue
		}
		slices.Sort(rules)
		out = append(out, host.Finding{
			Severity: host.Bypass, Reason: host.ReasonKernel, Where: "this kernel, by " + string(b.Means),
			What: "answered after the fact, although minimumBackend is Prevent: " + strings.Join(rules, ", "),
			Mend: mendKernel,
		})
	}
	return out
}
