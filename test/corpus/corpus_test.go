package corpus_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/test/corpus"
	"palisade.dev/palisade/test/corpus/random"
)

// judges are those that need nothing but the scenario; the kernel is asked in
// test/datapath.
var judges = map[string]corpus.Maker{
	"reference": judge.Reference,
	"tables":    judge.Tables,
}

func TestCorpus(t *testing.T) {
	scenarios, err := corpus.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(scenarios) < 60 {
		t.Fatalf("only %d scenarios", len(scenarios))
	}
	for name, make := range judges {
		t.Run(name, func(t *testing.T) {
			for _, s := range scenarios {
				t.Run(s.Name, func(t *testing.T) {
					ask, err := make(s.Cluster)
					if err != nil {
						t.Fatal(err)
					}
					wrong, err := s.Check(ask)
					if err != nil {
						t.Fatal(err)
					}
					for _, w := range wrong {
						t.Error(w)
					}
				})
			}
		})
	}
}

// An expectation that is wrong in verdict, rule, log or staging must be noticed,
// or the corpus proves nothing.
func TestCheckNotices(t *testing.T) {
	scenarios, err := corpus.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*model.Outcome){
		"verdict": func(o *model.Outcome) { o.Ingress.Enforced.Verdict ^= 1 },
		"rule":    func(o *model.Outcome) { o.Ingress.Enforced.By.Rule += "x" },
		"tier":    func(o *model.Outcome) { o.Egress.Enforced.By.Tier++ },
		"log":     func(o *model.Outcome) { o.Egress.Enforced.Log = !o.Egress.Enforced.Log },
		"staged":  func(o *model.Outcome) { o.Ingress.Staged.By.Policy.Name += "x" },
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range scenarios {
				ask, err := judge.Reference(s.Cluster)
				if err != nil {
					t.Fatal(err)
				}
				wrong, err := s.Check(func(conns []model.Connection) ([]model.Outcome, error) {
					out, err := ask(conns)
					for i := range out {
						spoil(&out[i])
					}
					return out, err
				})
				if err != nil {
					t.Fatal(err)
				}
				if len(wrong) == 0 {
					t.Errorf("%s: nothing noticed", s.Name)
				}
			}
		})
	}
}

// Every judge agrees with the reference, on clusters that nobody chose.
func TestRandom(t *testing.T) {
	const connections = 200
	clusters, full := 2000, 40000
	switch {
	case os.Getenv("PALISADE_FULL") != "":
		clusters = full
	case os.Getenv("PALISADE_FAST") != "":
		clusters = 300
	}
	checks := flag.Lookup("rapid.checks")
	old := checks.Value.String()
	if err := checks.Value.Set(fmt.Sprint(clusters)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = checks.Value.Set(old) }()

	denied, decided, staged := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		cluster := random.Cluster(t)
		conns := random.Connections(t, cluster, connections)
		ask, err := judge.Reference(cluster)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ask(conns)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range want {
			if o.Verdict() == model.Deny {
				denied++
			}
			if byPolicy(o.Egress) || byPolicy(o.Ingress) {
				decided++
			}
			if o.Egress.Staged != o.Egress.Enforced || o.Ingress.Staged != o.Ingress.Enforced {
				staged++
			}
		}
		for name, make := range judges {
			ask, err := make(cluster)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			have, err := ask(conns)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, c := range conns {
				if have[i] != want[i] {
					t.Fatalf("%s -> %s protocol %d port %d\n  reference %s\n  %-9s %s",
						c.From, c.To, c.Proto, c.Port, corpus.Describe(want[i]), name, corpus.Describe(have[i]))
				}
			}
		}
	})
	fmt.Printf("ran %d of %d random clusters, %d connections each (%d decided by a policy, %d denied, %d staged otherwise)\n",
		clusters, full, connections, decided, denied, staged)
	if denied < clusters || staged < clusters {
		t.Errorf("%d denied, %d staged otherwise: the clusters are too tame to prove anything", denied, staged)
	}
}

func byPolicy(j model.Judgement) bool { return j.Enforced.By.Policy != model.BuiltinPolicy }

func TestParseRefuses(t *testing.T) {
	const world = "Text.\n-- a.yaml --\napiVersion: v1\nkind: Pod\nmetadata: {namespace: a, name: x}\nstatus: {podIPs: [{ip: 10.0.0.1}]}\n-- expect --\n"
	for name, tc := range map[string]struct{ line, want string }{
		"nothing":             {"", "expects nothing"},
		"no arrow":            {"a/x a/x 80/tcp Allow", "FROM -> TO"},
		"unknown pod":         {"a/x -> a/y 80/tcp Allow", "no pod"},
		"unknown verdict":     {"a/x -> a/x 80/tcp Pass", "neither Allow nor Deny"},
		"unknown option":      {"a/x -> a/x 80/tcp Allow egres=(self)", "no option"},
		"unknown policy":      {"a/x -> a/x 80/tcp Allow egress=pnp/a/b/c", "no policy"},
		"deny without reason": {"a/x -> a/x 80/tcp Deny", "decisions Allow"},
		"family":              {"a/x -> fd00::1 80/tcp Allow", "no address family"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := corpus.Parse(t.Context(), name, []byte(world+tc.line+"\n")); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse = %v, want an error with %q", err, tc.want)
			}
		})
	}
}
