package datapath

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/nodeagent/layout/runtimetest"
	"palisade.dev/palisade/snapshot"
)

// asked is an operation with what it should be answered.
type asked struct {
	uid, container string
	op             rowtest.Operation
}

func newRuntimeTrial(t testing.TB, o TrialOptions) *RuntimeTrial {
	t.Helper()
	trial, err := NewRuntimeTrial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trial.Close() })
	return trial
}

// fataler is what a test and a property share.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// judgeAll asks the kernel and compares with the slow answers.
func judgeAll(t fataler, trial *RuntimeTrial, b *rowtest.Runtime, all []asked) {
	t.Helper()
	questions := make([]bpf.RuntimeQuestion, len(all))
	for i, a := range all {
		questions[i] = runtimetest.Question(trial.Layout(), a.uid, a.container, a.op)
	}
	outcomes := make([]bpf.RuntimeOutcome, len(all))
	if err := trial.Ask(0, questions); err != nil {
		t.Fatal(err)
	}
	if err := trial.Run(0, len(all)); err != nil {
		t.Fatal(err)
	}
	if err := trial.Outcomes(0, outcomes); err != nil {
		t.Fatal(err)
	}
	for i, a := range all {
		want, known, rules := b.Judge(a.uid, a.container, a.op)
		subject := int32(-1)
		if known {
			subject = 0
		}
		if rules {
			subject = 1
		}
		if outcomes[i].Subject != subject {
			t.Fatalf("pod %s, container %s: subject %d, want %d", a.uid, a.container, outcomes[i].Subject, subject)
		}
		if !known {
			continue
		}
		got := runtimetest.Answer(trial.Layout(), outcomes[i].Answer)
		if a.container == rowtest.Pending {
			// Of several rule sets that say the same, any may be named.
			want.Enforced.Rule, want.Staged.Rule = got.Enforced.Rule, got.Staged.Rule
		}
		if got != want {
			t.Fatalf("pod %s, container %s: %+v: got %+v, want %+v", a.uid, a.container, a.op, got, want)
		}
		if a.op.Path != "" && !a.op.Unresolvable && outcomes[i].Fingerprint != trial.Layout().Fingerprint(a.op.Path) {
			t.Fatalf("%q: fingerprint %x, want %x", a.op.Path, outcomes[i].Fingerprint, trial.Layout().Fingerprint(a.op.Path))
		}
	}
}

// TestRuntimeJudgeMatchesRows goes from one random node to another, by deltas, and
// compares the kernel's answers with the slow ones from the same rows after each.
func TestRuntimeJudgeMatchesRows(t *testing.T) {
	trial := newRuntimeTrial(t, TrialOptions{Lines: 1 << 13, Layout: layout.Options{Unbound: layout.UnboundAllow}})
	have := snapshot.NewSet()
	full := true
	rapid.Check(t, func(rt *rapid.T) {
		b, paths := rowtest.RandomRuntime(rt)
		next := b.Set()
		u := layout.Update{Full: full || rapid.Bool().Draw(rt, "full"), Delta: snapshot.Diff(have, next)}
		if u.Full {
			u.Delta = b.Full()
		}
		if _, err := trial.Apply(context.Background(), u); err != nil {
			rt.Fatal(err)
		}
		have, full = next, false
		var all []asked
		pods := append(b.Pods(), "ffffffff-0000-4000-8000-000000000000")
		for range 100 {
			all = append(all, asked{rapid.SampledFrom(pods).Draw(rt, "pod"), rowtest.RandomContainer(rt), rowtest.RandomOperation(rt, paths)})
		}
		judgeAll(rt, trial, b, all)
	})
}

// TestRuntimeManyRules judges by 10,000 rules of one rule set: every path, its
// neighbours, and the greatest length that a path can have.
func TestRuntimeManyRules(t *testing.T) {
	const rules = 10_000
	b := rowtest.NewRuntime()
	var ids []snapshot.RuleID
	var paths []string
	long := strings.Repeat("/"+strings.Repeat("n", 254), 15)
	for i := range rules {
		row := snapshot.RuntimeRuleRow{Section: snapshot.SectionFiles, Action: uint8(i % 3), Enforced: i%5 != 0, Staged: true}
		path := fmt.Sprintf("/data/%d/%d/file-%d", i%7, i%100, i)
		if i%10 == 9 {
			path = fmt.Sprintf("%s/%0*d", long, bpf.RuntimePathBytes-2-len(long), i)
		}
		switch i % 4 {
		case 0, 1:
			row.Paths = []string{path}
		case 2:
			row.Directories = []string{path}
		case 3:
			row.Globs = []snapshot.RuntimeGlob{{Prefix: path[:len(path)/2], Suffix: path[len(path)/2:]}}
		}
		ids = append(ids, b.Rule(fmt.Sprintf("rule-%d", i), row))
		paths = append(paths, path, path+"x", path+"/below")
	}
	b.Subject("web", "", b.Ruleset("many", ids...))
	b.Pod(fmt.Sprintf("%032x", 7), "web")
	trial := newRuntimeTrial(t, TrialOptions{Lines: 1 << 16, Layout: layout.Options{Unbound: layout.UnboundAllow}})
	if _, err := trial.Apply(context.Background(), layout.Update{Full: true, Delta: b.Full()}); err != nil {
		t.Fatal(err)
	}
	var all []asked
	for i := 0; i < len(paths); i += 41 {
		if len(paths[i]) < bpf.RuntimePathBytes {
			all = append(all, asked{fmt.Sprintf("%032x", 7), "app", rowtest.Operation{Section: snapshot.SectionFiles, Operations: 1, Path: paths[i]}})
		}
	}
	for len(all) > 0 {
		n := min(len(all), 256)
		judgeAll(t, trial, b, all[:n])
		all = all[n:]
	}
}

// TestRuntimePeers: a rule about peers is about whom the network's matrix says.
func TestRuntimePeers(t *testing.T) {
	n := rowtest.New("node")
	yes, no := n.Program(n.Deny("is-a-peer")), n.Program(n.Allow("is-none"))
	n.Kind("db", "db")
	n.Kind("web")
	n.Part("10.9.0.0/16", "office")
	peers := n.Ruleset("peers", true, []string{"db", "office"}, func(in func(string) bool) snapshot.ProgramID {
		if in("db") || in("office") {
			return yes
		}
		return no
	})
	n.Address("10.1.0.1", "db", "uid-db")
	n.Address("fd00::1", "db", "uid-db")
	n.Address("10.1.0.2", "web", "uid-web")
	b := rowtest.NewRuntime()
	b.Network(n)
	row := snapshot.RuntimeRuleRow{
		Section: snapshot.SectionNetwork, Action: snapshot.RuntimeKill, Enforced: true, Staged: true, Operations: 1, Peers: peers,
		Ports: []snapshot.RuntimePort{{Proto: 6, Lo: 1, Hi: 100}},
	}
	b.Subject("web", "", b.Ruleset("set", b.Rule("to-peers", row)))
	b.Local("uid-web", "web")
	trial := newRuntimeTrial(t, TrialOptions{Layout: layout.Options{Unbound: layout.UnboundAllow}})
	if _, err := trial.Apply(context.Background(), layout.Update{Full: true, Delta: b.Full()}); err != nil {
		t.Fatal(err)
	}
	var all []asked
	killed := 0
	for _, a := range []string{"10.1.0.1", "fd00::1", "10.1.0.2", "10.9.3.3", "10.8.0.1", "fd00::2"} {
		for _, port := range []uint16{80, 101} {
			op := rowtest.Operation{Section: snapshot.SectionNetwork, Operations: 1, Addr: netip.MustParseAddr(a), Proto: 6, Port: port}
			all = append(all, asked{"uid-web", "app", op})
			if v, _, _ := b.Judge("uid-web", "app", op); v.Enforced.Kill {
				killed++
			}
		}
	}
	if killed != 3 {
		t.Fatalf("the test's own rows kill %d connections, want 3", killed)
	}
	judgeAll(t, trial, b, all)
}

// TestRuntimeDeepDirectories: a directory is found however deep it is.
func TestRuntimeDeepDirectories(t *testing.T) {
	b := rowtest.NewRuntime()
	var ids []snapshot.RuleID
	var paths []string
	for depth := range 200 {
		dir := fmt.Sprintf("/d%d%s", depth, strings.Repeat("/s", depth))
		ids = append(ids, b.Rule(fmt.Sprintf("rule-%d", depth), snapshot.RuntimeRuleRow{
			Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Enforced: true, Staged: true, Directories: []string{dir},
		}))
		paths = append(paths, dir, dir+"/below", dir+"/s/s/s/s", dir[:len(dir)-1])
	}
	uid := fmt.Sprintf("%032x", 7)
	b.Pod(uid, "web")
	trial := newRuntimeTrial(t, TrialOptions{Layout: layout.Options{Unbound: layout.UnboundAllow}})
	// Alone in its rule set a directory has the only bit of its depth.
	for depth, id := range ids {
		b.Subject("web", "", b.Ruleset(fmt.Sprintf("only-%d", depth), id))
		if _, err := trial.Apply(context.Background(), layout.Update{Full: true, Delta: b.Full()}); err != nil {
			t.Fatal(err)
		}
		var all []asked
		for _, path := range paths[4*depth : 4*depth+4] {
			all = append(all, asked{uid, "app", rowtest.Operation{Section: snapshot.SectionExecutables, Path: path}})
		}
		judgeAll(t, trial, b, all)
	}
}

// TestRuntimeParentsMove: what a rule denies does not become something else by the
// renaming of a directory above it.
func TestRuntimeParentsMove(t *testing.T) {
	const rename = 16
	b := rowtest.NewRuntime()
	deny := b.Rule("secrets", snapshot.RuntimeRuleRow{
		Section: snapshot.SectionFiles, Action: snapshot.RuntimeDeny, Enforced: true, Staged: true, Operations: 1,
		Paths: []string{"/srv/app/secrets/key"}, Directories: []string{"/var/lib/db"},
		Globs: []snapshot.RuntimeGlob{{Prefix: "/opt/tool-", Suffix: ".pem"}},
	})
	uid := fmt.Sprintf("%032x", 7)
	b.Pod(uid, "web")
	b.Subject("web", "", b.Ruleset("set", deny))
	trial := newRuntimeTrial(t, TrialOptions{Layout: layout.Options{Unbound: layout.UnboundAllow}})
	if _, err := trial.Apply(context.Background(), layout.Update{Full: true, Delta: b.Full()}); err != nil {
		t.Fatal(err)
	}
	denied := map[string]bool{
		"/srv": true, "/srv/app": true, "/srv/app/secrets": true, "/var": true, "/var/lib": true, "/opt": true,
		"/srv/other": false, "/sr": false, "/var/lib/dbx": false, "/opt/tool": false, "/usr": false,
	}
	var all []asked
	for path, want := range denied {
		for _, directory := range []bool{true, false} {
			op := rowtest.Operation{Section: snapshot.SectionFiles, Operations: rename, Path: path, Directory: directory}
			all = append(all, asked{uid, "app", op})
			if v, _, _ := b.Judge(uid, "app", op); v.Enforced.Deny != (want && directory) {
				t.Fatalf("the test's own answer about %s: %+v", path, v)
			}
		}
	}
	judgeAll(t, trial, b, all)
}
