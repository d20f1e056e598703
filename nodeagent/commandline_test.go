package nodeagent

import (
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/snapshot"
)

// commandNode has a pod with a rule set for its container db, and another for the rest.
func commandNode(dbRules, otherRules []snapshot.RuntimeRuleRow) *holding {
	const uid = "11111111-2222-3333-4444-555555555555"
	kind := snapshot.KindID{1}
	set := snapshot.NewSet()
	put := func(name string, rules []snapshot.RuntimeRuleRow) snapshot.RulesetID {
		row := snapshot.RuntimeRulesetRow{ID: snapshot.NewRulesetID([]byte(name))}
		for _, r := range rules {
			r.Section, r.Staged = snapshot.SectionExecutables, true
			set.Put(snapshot.Encode(r))
			row.Rules = append(row.Rules, r.ID)
		}
		set.Put(snapshot.Encode(row))
		return row.ID
	}
	set.Put(snapshot.Encode(snapshot.RuntimePodRow{UID: uid, Kind: kind, Namespace: "shop", Name: "db-0"}))
	set.Put(snapshot.Encode(snapshot.RuntimeSubjectRow{Kind: kind, Container: "db", Ruleset: put("db", dbRules)}))
	set.Put(snapshot.Encode(snapshot.RuntimeSubjectRow{Kind: kind, Ruleset: put("other", otherRules)}))
	h := newHolding()
	h.set = set
	return h
}

func commandRow(id byte, r snapshot.RuntimeRuleRow) snapshot.RuntimeRuleRow {
	r.ID = snapshot.RuleID{id}
	return r
}

func TestCommandLines(t *testing.T) {
	key := layout.PodKey("11111111-2222-3333-4444-555555555555")
	deny := snapshot.RuntimeDeny
	audit := func(r snapshot.RuntimeRuleRow) []snapshot.RuntimeRuleRow {
		r.Action, r.Arguments = deny, []string{"--host=**", "-x"}
		return []snapshot.RuntimeRuleRow{
			commandRow(1, snapshot.RuntimeRuleRow{Action: snapshot.RuntimeAccept, Paths: []string{"/bin/first"}}),
			commandRow(2, r),
			commandRow(3, snapshot.RuntimeRuleRow{Action: deny, Arguments: []string{"**"}, Paths: []string{"/bin/last"}}),
		}
	}
	plain := audit(snapshot.RuntimeRuleRow{})
	staged := func(rank, flags uint64) func(*runtime.Record) {
		return func(r *runtime.Record) { r.Answer.Staged = bpf.RuntimeWord(rank, flags, 40) }
	}
	path := func(p string) func(*runtime.Record) { return func(r *runtime.Record) { r.Path = p } }
	named := func(n uint64) func(*runtime.Record) {
		return func(r *runtime.Record) { r.RuntimeEvent.Container.Name = n }
	}
	cut := func(r *runtime.Record) { r.Command.Truncated = true }
	chain := func(flags uint32, ran ...uint64) func(*runtime.Record) {
		return func(r *runtime.Record) {
			r.Command.Chain = &bpf.RuntimeChainOf{Count: uint32(len(ran)), Flags: flags}
			copy(r.Command.Chain.Executable[:], ran)
		}
	}
	type changes []func(*runtime.Record)
	from := func(descendants bool) []snapshot.RuntimeRuleRow {
		return audit(snapshot.RuntimeRuleRow{From: []string{"/bin/sh"}, FromDescendants: descendants})
	}
	const sh = 7 // fingerprint
	tests := map[string]struct {
		db        []snapshot.RuntimeRuleRow
		arguments []string
		changes   changes
		want      byte // the rule's ID; 0: none
	}{
		"equal":                                {plain, []string{"app", "y", "-x"}, nil, 2},
		"prefix":                               {plain, []string{"app", "--host=a"}, nil, 2},
		"another":                              {plain, []string{"app", "-xy", "-host=a"}, nil, 0},
		"the program's own name":               {plain, []string{"-x"}, nil, 0},
		"no arguments":                         {plain, nil, nil, 0},
		"nobody knows":                         {plain, []string{"app", "-x"}, changes{func(r *runtime.Record) { r.Command = nil }}, 0},
		"cut off":                              {plain, []string{"app", "-x"}, changes{cut}, 0},
		"before what is cut off":               {plain, []string{"app", "-x", "lon"}, changes{cut}, 2},
		"an Accept ahead of it":                {plain, []string{"app", "-x"}, changes{staged(1, 0)}, 0},
		"a Deny ahead of it":                   {plain, []string{"app", "-x"}, changes{staged(1, bpf.RuntimeDeny)}, 0},
		"an Accept behind it":                  {plain, []string{"app", "-x"}, changes{staged(3, 0)}, 2},
		"a Deny behind it":                     {plain, []string{"app", "-x"}, changes{staged(4, bpf.RuntimeDeny)}, 2},
		"denied":                               {plain, []string{"app", "-x"}, changes{func(r *runtime.Record) { r.Answer.Enforced = bpf.RuntimeWord(9, bpf.RuntimeDeny, 40) }}, 0},
		"the next rule":                        {plain, []string{"last", "y"}, changes{path("/bin/last")}, 3},
		"the first of two":                     {plain, []string{"last", "-x"}, changes{path("/bin/last")}, 2},
		"another container":                    {plain, []string{"app", "-x"}, changes{named(layout.ContainerName("web"))}, 0},
		"the sandbox":                          {plain, []string{"app", "-x"}, changes{named(bpf.RuntimeNameSandbox)}, 0},
		"no name yet":                          {plain, []string{"app", "-x"}, changes{named(bpf.RuntimeNamePending)}, 2},
		"no name yet, what another denies":     {plain, []string{"app", "-x"}, changes{named(bpf.RuntimeNamePending), staged(9, bpf.RuntimeDeny)}, 0},
		"another pod":                          {plain, []string{"app", "-x"}, changes{func(r *runtime.Record) { r.RuntimeEvent.Container.UIDLow++ }}, 0},
		"origin":                               {audit(snapshot.RuntimeRuleRow{Origins: snapshot.OriginImage}), []string{"app", "-x"}, nil, 2},
		"another origin":                       {audit(snapshot.RuntimeRuleRow{Origins: snapshot.OriginMemory}), []string{"app", "-x"}, nil, 0},
		"path":                                 {audit(snapshot.RuntimeRuleRow{Paths: []string{"/bin/app"}}), []string{"app", "-x"}, nil, 2},
		"another path":                         {audit(snapshot.RuntimeRuleRow{Paths: []string{"/bin/ap"}}), []string{"app", "-x"}, nil, 0},
		"directory":                            {audit(snapshot.RuntimeRuleRow{Directories: []string{"/bin"}}), []string{"app", "-x"}, nil, 2},
		"the directory of all":                 {audit(snapshot.RuntimeRuleRow{Directories: []string{"/"}}), []string{"app", "-x"}, nil, 2},
		"another directory":                    {audit(snapshot.RuntimeRuleRow{Directories: []string{"/bi"}}), []string{"app", "-x"}, nil, 0},
		"glob":                                 {audit(snapshot.RuntimeRuleRow{Globs: []snapshot.RuntimeGlob{{Prefix: "/", Suffix: "/app"}}}), []string{"app", "-x"}, nil, 2},
		"a glob whose ends overlap":            {audit(snapshot.RuntimeRuleRow{Globs: []snapshot.RuntimeGlob{{Prefix: "/bin/", Suffix: "n/app"}}}), []string{"app", "-x"}, nil, 0},
		"from":                                 {from(false), []string{"app", "-x"}, changes{chain(0, sh)}, 2},
		"from, descendant":                     {from(false), []string{"app", "-x"}, changes{chain(0, 8, sh)}, 0},
		"from, descendant included":            {from(true), []string{"app", "-x"}, changes{chain(0, 8, sh)}, 2},
		"from, another":                        {from(true), []string{"app", "-x"}, changes{chain(0, 8, 9)}, 0},
		"from, the first program":              {from(true), []string{"app", "-x"}, changes{chain(0)}, 0},
		"from, of whom too little is known":    {from(true), []string{"app", "-x"}, changes{chain(bpf.RuntimeChainOverflow, 8)}, 2},
		"from, by an agent that knows nothing": {from(true), []string{"app", "-x"}, nil, 2},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := commandLines{
				holding:     commandNode(tc.db, nil),
				fingerprint: func(string) uint64 { return sh },
				observed:    &observed{},
			}
			rec := runtime.Record{Path: "/bin/app", Command: &runtime.Command{Arguments: tc.arguments}}
			rec.Query.Origin = snapshot.OriginImage
			rec.RuntimeEvent.Container = bpf.RuntimeContainer{UIDHigh: key.High, UIDLow: key.Low, Name: layout.ContainerName("db")}
			rec.Answer.Enforced = bpf.RuntimeRankDefault << 40
			rec.Answer.Staged = rec.Answer.Enforced
			for _, change := range tc.changes {
				change(&rec)
			}
			row, ok := c.judge(rec)
			if ok != (tc.want != 0) || ok && row.ID != (snapshot.RuleID{tc.want}) {
				t.Errorf("rule %x, %v; want %x", row.ID[:1], ok, tc.want)
			}
		})
	}
}

// TestCommandLinesChange: rules that change are judged by as they are now, and those that
// leave are counted no more.
func TestCommandLinesChange(t *testing.T) {
	h := commandNode([]snapshot.RuntimeRuleRow{commandRow(1, snapshot.RuntimeRuleRow{Action: snapshot.RuntimeDeny, Arguments: []string{"-x"}})}, nil)
	o := &observed{}
	c := commandLines{holding: h, fingerprint: func(string) uint64 { return 0 }, observed: o}
	c.refresh()
	o.count(snapshot.RuleID{1}, 5, 1)
	if len(c.rules) != 1 || len(o.counters()) != 1 {
		t.Fatalf("%d rule sets, %d counters", len(c.rules), len(o.counters()))
	}
	h.keep(h.prepare(snapshot.Diff(h.set, commandNode(nil, nil).set), false), snapshot.Commit{}, snapshot.Signature{})
	c.refresh()
	if len(c.rules) != 0 || len(o.counters()) != 0 {
		t.Errorf("%d rule sets, %d counters", len(c.rules), len(o.counters()))
	}
}
