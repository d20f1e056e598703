package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/test/corpus"
)

// few are played in every run; PALISADE_FULL=1 plays all that can be.
var few = []string{
	"admin-equal-priority", "audit", "baseline-order", "both-directions",
	"dual-stack", "named-port-ingress", "namespace-selectors", "upstream-peers",
}

// TestCorpus is the fourth judge of the corpus: real pods. Before the policies every
// connection is made; with them, exactly those that the scenario expects, and the
// flow log names for each denied one the policy and the rule that the scenario does.
func TestCorpus(t *testing.T) {
	onlyLocal(t)
	t.Parallel()
	scenarios, err := corpus.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	full := os.Getenv("PALISADE_FULL") != ""
	var stages []*stage
	var infeasible []string
	played, unplayed, feasible := 0, 0, 0
	for _, s := range scenarios {
		st, err := newStage(s)
		if err != nil {
			infeasible = append(infeasible, fmt.Sprintf("  %s: %v", s.Name, err))
			continue
		}
		feasible++
		if full || slices.Contains(few, s.Name) {
			stages, played, unplayed = append(stages, st), played+len(st.lines), unplayed+st.unplayed
		}
	}
	if !full && len(stages) != len(few) {
		t.Errorf("%d of %v can be played", len(stages), few)
	}
	fmt.Printf("ran %d of %d corpus scenarios on real pods (%d lines; %d of them have an end that is no pod, or another protocol)\n", len(stages), feasible, played, unplayed)
	fmt.Printf("%d scenarios cannot be played on real pods:\n%s\n", len(infeasible), strings.Join(infeasible, "\n"))
	for _, st := range stages {
		t.Run(st.Name, func(t *testing.T) {
			t.Parallel()
			st.play(t)
		})
	}
}

func (st *stage) play(t *testing.T) {
	st.build(t)
	t.Logf("%s", st.Text)
	pace.Until(t, "control", st.judge(func(corpus.Expectation) bool { return true }))
	objects := st.manifest()
	if st.conflicts != nil {
		t.Fatal(st.conflicts)
	}
	if len(objects) > 0 {
		must(t, listOf(t, objects), "apply", "-f", "-")
	}
	verdict := st.judge(func(e corpus.Expectation) bool { return e.Want.Verdict() == model.Allow })
	pace.Until(t, "verdict", verdict)
	st.attributed(t, verdict) // what came out right on the way must do so again
}

// build makes namespaces and pods, and learns the addresses that these get.
func (st *stage) build(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var names []string
		for ns := range st.namespaces() {
			names = append(names, st.prefix+ns)
		}
		if _, err := kubectl("", append([]string{"delete", "namespace", "--ignore-not-found", "--wait=false"}, names...)...); err != nil {
			t.Error(err)
		}
		for kind, count := range map[string]int{"cwp": len(st.Objects.ClusterwidePolicies), "pag": len(st.Objects.AddressGroups)} {
			var args []string
			for i := range count {
				name := ""
				if kind == "cwp" {
					name = st.Objects.ClusterwidePolicies[i].Name
				} else {
					name = st.Objects.AddressGroups[i].Name
				}
				args = append(args, st.prefix+name)
			}
			if count > 0 {
				if _, err := kubectl("", append([]string{"delete", kind, "--ignore-not-found"}, args...)...); err != nil {
					t.Error(err)
				}
			}
		}
	})
	must(t, listOf(t, st.world()), "apply", "-f", "-")
	seen := map[*corev1.Pod]pod{}
	for a, p := range st.pods {
		if _, ok := seen[p]; !ok {
			must(t, "", "wait", "-n", st.prefix+p.Namespace, "--for=condition=Ready", "pod/"+p.Name, patient)
			seen[p] = lookUp(t, st.prefix+p.Namespace, p.Name)
		}
		if a.Is4() {
			st.real[a] = netip.MustParseAddr(seen[p].ip4)
		} else {
			st.real[a] = netip.MustParseAddr(seen[p].ip6)
		}
	}
}

func (st *stage) targetOf(c model.Connection) string {
	proto := "tcp"
	if c.Proto == model.ProtoUDP {
		proto = "udp"
	}
	return fmt.Sprintf("%s/%s", proto, netip.AddrPortFrom(st.real[c.To], uint16(c.Port)))
}

// judge tries every line's connections and says which did not come out as wanted.
func (st *stage) judge(want func(corpus.Expectation) bool) (try func() error) {
	from := map[*corev1.Pod]map[string]bool{}
	line := map[string]string{}
	for _, e := range st.lines {
		for _, c := range e.Connections {
			p := st.pods[c.From]
			if from[p] == nil {
				from[p] = map[string]bool{}
			}
			from[p][st.targetOf(c)] = want(e)
			line[p.Name+st.targetOf(c)] = e.Text
		}
	}
	return func() error {
		for p, targets := range from {
			var list []string
			for target := range targets {
				list = append(list, target)
			}
			got, err := dial(pod{namespace: st.prefix + p.Namespace, name: p.Name}, list...)
			if err != nil {
				return err
			}
			for target, ok := range targets {
				if got[target] != ok {
					return fmt.Errorf("%s to %s answers: %t, want %t; the line is: %s", p.Name, target, got[target], ok, line[p.Name+target])
				}
			}
		}
		return nil
	}
}

// attributed looks for the record of each denied connection. An agent keeps the last
// records only, so each look comes right after all connections were tried.
func (st *stage) attributed(t *testing.T, try func() error) {
	t.Helper()
	pace.Until(t, "records", func() error {
		if err := try(); err != nil {
			return err
		}
		var all []flow
		for ns := range st.namespaces() {
			some, err := flows(st.prefix + ns)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		for _, e := range st.lines {
			for _, c := range e.Connections {
				if e.Want.Verdict() == model.Deny && !slices.ContainsFunc(all, func(f flow) bool { return st.tells(f, e, c) }) {
					return fmt.Errorf("no record of %s (%s) among %v", e.Text, st.targetOf(c), all)
				}
			}
		}
		return nil
	})
}

// tells reports whether a record is about a denied connection and names who denied
// it. What is denied for egress is on its way no further.
func (st *stage) tells(f flow, e corpus.Expectation, c model.Connection) bool {
	j, direction := e.Want.Egress.Enforced, "Egress"
	if j.Verdict != model.Deny {
		j, direction = e.Want.Ingress.Enforced, "Ingress"
	}
	ref := j.By.Policy
	if ref.Namespace != "" {
		ref.Namespace = st.prefix + ref.Namespace
	} else {
		ref.Name = st.prefix + ref.Name
	}
	return f.Verdict == "Deny" && f.From.Addr == st.real[c.From].String() && f.To.Addr == st.real[c.To].String() && f.To.Port == int(c.Port) &&
		f.Direction == direction && f.Tier == j.By.Tier.String() && f.Policy == ref.String() && f.Rule == j.By.Rule
}
