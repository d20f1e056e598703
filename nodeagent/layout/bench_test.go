package layout

import (
	"fmt"
	"testing"

	"palisade.dev/palisade/snapshot"
)

// BenchmarkApply measures the agent's own work, without the kernel's: a whole
// snapshot of a cluster, a pod that comes, and a policy that changes.
func BenchmarkApply(b *testing.B) {
	for _, pods := range []int{1000, 100_000} {
		cluster := simple(pods).Full()
		few, pod, policy := simple(1), simple(1), simple(1)
		pod.Address("10.200.0.1", "web", "uid-new")
		policy.Kind("db", "web")
		for _, c := range []struct {
			name        string
			forth, back snapshot.Delta
		}{
			{"pod", snapshot.Diff(few.Set(), pod.Set()), snapshot.Diff(pod.Set(), few.Set())},
			{"policy", snapshot.Diff(few.Set(), policy.Set()), snapshot.Diff(policy.Set(), few.Set())},
		} {
			b.Run(fmt.Sprintf("%s/%d", c.name, pods), func(b *testing.B) {
				l := New(Options{})
				if err := l.Apply(Update{Full: true, Delta: cluster}); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					for _, d := range []snapshot.Delta{c.forth, c.back} {
						if err := l.Apply(Update{Delta: d}); err != nil {
							b.Fatal(err)
						}
						l.Synced(0)
						l.Synced(1)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("full/%d", pods), func(b *testing.B) {
			for b.Loop() {
				if err := New(Options{}).Apply(Update{Full: true, Delta: cluster}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkApplyRuntime measures the same of runtime rules: a pod that comes and goes,
// and a rule set of which one rule changes.
func BenchmarkApplyRuntime(b *testing.B) {
	for _, rules := range []int{100, 10_000} {
		few, pod := node(1), node(1)
		pod.Pod(fmt.Sprintf("%032x", 99), "web")
		all, policy := node(rules), node(rules)
		policy.Rule("rule-0", snapshot.RuntimeRuleRow{Section: snapshot.SectionFiles, Enforced: true, Staged: true, Paths: []string{"/new"}})
		for _, c := range []struct {
			name        string
			forth, back snapshot.Delta
		}{
			{"pod", snapshot.Diff(few.Set(), pod.Set()), snapshot.Diff(pod.Set(), few.Set())},
			{"policy", snapshot.Diff(all.Set(), policy.Set()), snapshot.Diff(policy.Set(), all.Set())},
		} {
			b.Run(fmt.Sprintf("%s/%d", c.name, rules), func(b *testing.B) {
				l := New(Options{})
				if err := l.Apply(Update{Full: true, Delta: all.Full()}); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					for _, d := range []snapshot.Delta{c.forth, c.back} {
						if err := l.Apply(Update{Delta: d}); err != nil {
							b.Fatal(err)
						}
						l.Synced(0)
						l.Synced(1)
					}
				}
			})
		}
	}
}
