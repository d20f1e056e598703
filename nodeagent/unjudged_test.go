package nodeagent

import (
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/snapshot"
)

// TestPreventIsDemanded: killing after the fact is not enough for a policy that says so,
// whose rules are named; it is for the others.
func TestPreventIsDemanded(t *testing.T) {
	rows := snapshot.NewSet()
	put := func(id byte, policy, rule string, section, action uint8) {
		rows.Put(snapshot.Encode(snapshot.RuleRow{ID: snapshot.RuleID{id}, PolicyKind: 4, Namespace: "shop", Policy: policy, Rule: rule}))
		rows.Put(snapshot.Encode(snapshot.RuntimeRuleRow{ID: snapshot.RuleID{id}, Section: section, Action: action, Enforced: true, Staged: true}))
	}
	put(1, "strict", "executables/sh", snapshot.SectionExecutables, snapshot.RuntimeDeny)
	put(2, "strict", "executables/nc", snapshot.SectionExecutables, snapshot.RuntimeKill)
	put(3, "strict", "executables/app", snapshot.SectionExecutables, snapshot.RuntimeAccept)
	put(4, "lenient", "executables/x", snapshot.SectionExecutables, snapshot.RuntimeDeny)
	put(5, "strict", "network/out", snapshot.SectionNetwork, snapshot.RuntimeDeny)
	strict := map[string]bool{"rtp/shop/strict": true}
	for name, tc := range map[string]struct {
		executables events.Backend
		must        map[string]bool
		want        string // empty: nothing is found
	}{
		"killed":       {events.Signal, strict, "answered after the fact, although minimumBackend is Prevent: rtp/shop/strict executables/nc, rtp/shop/strict executables/sh (this kernel, by signal)"},
		"of another":   {events.Signal, map[string]bool{"rtp/other/strict": true}, ""},
		"nobody asked": {events.Signal, nil, ""},
		"prevented":    {events.LSM, strict, ""},
		"not at all":   {events.NoBackend, strict, ""}, // which is a finding of its own
	} {
		t.Run(name, func(t *testing.T) {
			by := Sections{runtime.Executables: {Means: tc.executables}, runtime.Network: {Means: events.Cgroup}}
			found := unprevented(by, rows, tc.must)
			if (len(found) > 0) != (tc.want != "") || !strings.Contains(host.Join(found), tc.want) {
				t.Errorf("found %s, want %q", host.Join(found), tc.want)
			}
			if around := host.Only(found, host.Bypass); len(around) != len(found) {
				t.Errorf("not refused: %s", host.Join(found))
			}
		})
	}
}
