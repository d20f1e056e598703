package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// The shape of a busy node: rules of ten thousand per rule set at most, some about
// directories and some about the ends of names.
const perRuleset = 10_000

// path makes a path of 60 bytes: eight directories deep at most, as under /usr.
func path(ruleset, i int) string {
	return fmt.Sprintf("/usr/share/application-%02d/lib/x86_64-linux/module-%08d.dat", ruleset, i)
}

func uid(ruleset int) string { return fmt.Sprintf("%032x", number(ruleset)) }

// number is what the UID of a rule set's pod says: 0 would be the node itself.
func number(ruleset int) uint32 { return uint32(ruleset) + 1 }

// rows builds a node with so many rules, in as few rule sets as hold them, each of a
// pod of its own. Of a hundred rules 90 are about a path, 8 about a directory and 2
// about a glob; one allows the rest. paths are those that rules are about.
func rows(rules int) (d snapshot.Delta, paths [][]string) {
	set := snapshot.NewSet()
	add := func(row snapshot.Row) { set.Put(snapshot.Encode(row)) }
	add(snapshot.MetaRow{Node: "node"})
	for ruleset := 0; ruleset*perRuleset < rules; ruleset++ {
		id := snapshot.NewRulesetID(fmt.Appendf(nil, "ruleset-%d", ruleset))
		row := snapshot.RuntimeRulesetRow{ID: id}
		var about []string
		for i := range min(perRuleset, rules) {
			name := fmt.Sprintf("rule-%d-%d", ruleset, i)
			r := snapshot.RuntimeRuleRow{
				ID: snapshot.NewRuleID([]byte(name)), Section: snapshot.SectionFiles, Action: snapshot.RuntimeDeny,
				Enforced: true, Staged: true, Operations: 3,
			}
			switch i % 100 {
			case 5:
				r.Globs = []snapshot.RuntimeGlob{{Prefix: fmt.Sprintf("/opt/tool-%05d/", i), Suffix: ".so"}}
			case 6:
				r.Globs = []snapshot.RuntimeGlob{{Prefix: "/", Suffix: fmt.Sprintf("/secret-%05d", i)}}
			case 7, 17, 27, 37, 47, 57, 67, 77:
				r.Directories = []string{fmt.Sprintf("/usr/share/doc-%05d", i)}
			default:
				r.Paths = []string{path(ruleset, i)}
				about = append(about, path(ruleset, i))
			}
			add(r)
			add(snapshot.RuleRow{ID: r.ID, Tier: 2, PolicyKind: 4, Namespace: "bench", Policy: fmt.Sprint(i / 8), Rule: fmt.Sprint(i)})
			row.Rules = append(row.Rules, r.ID)
		}
		kind := snapshot.NewKindID([]byte(uid(ruleset)))
		add(row)
		add(snapshot.RuntimeSubjectRow{Kind: kind, Ruleset: id})
		add(snapshot.RuntimePodRow{UID: uid(ruleset), Kind: kind, Name: uid(ruleset)})
		paths = append(paths, about)
	}
	return snapshot.Diff(snapshot.NewSet(), set), paths
}

// fill draws the paths that are asked about: those of rules, or others beside them.
func fill(m *ebpf.Map, paths [][]string, hit bool) error {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range samples {
		ruleset := r.IntN(len(paths))
		text := paths[ruleset][r.IntN(len(paths[ruleset]))]
		if !hit {
			text = path(ruleset, 50_000_000+r.IntN(1_000_000))
		}
		// A UID of 32 digits is a number, whose low half is the rule set's.
		sample := bpf.RuntimeSample{Length: uint32(len(text)), Container: number(ruleset)}
		copy(sample.Bytes[:], text)
		if err := m.Put(uint32(i), sample); err != nil {
			return err
		}
	}
	return nil
}
