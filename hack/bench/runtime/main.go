// Command runtime measures one answer of runtime rules as shipped: the rule sets of
// a container, a path of some 60 bytes and every rule about it, chosen by chance,
// beside an empty program and one that only chooses the path, in the same run.
//
//	go run ./hack/bench/runtime -o bin/bench-runtime.json
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/layout"
)

// measurement is one line of the result.
type measurement struct {
	Rules   int     `json:"rules"`
	Paths   string  `json:"paths"` // of rules, or of none
	Judge   float64 `json:"ns_judge"`
	Subject float64 `json:"ns_subject"`
	Draw    float64 `json:"ns_draw"`
	Empty   float64 `json:"ns_empty_program"`
	lines   int
	denied  float64
}

// over is the answer's own time.
func (m measurement) over() float64 { return m.Judge - m.Draw }

func main() {
	out := flag.String("o", "", "where to write the measurements as JSON")
	rounds := flag.Int("rounds", 7, "the best of how many rounds counts")
	repeat := flag.Int("repeat", 300_000, "runs per round")
	flag.Parse()
	alone()
	if err := run(*out, *rounds, *repeat); err != nil {
		fmt.Fprintln(os.Stderr, "bench-runtime:", err)
		os.Exit(1)
	}
}

// alone keeps this thread from being preempted by whatever else the machine does:
// a cache that others emptied says nothing about the answer. It does without where
// it may not.
func alone() {
	runtime.LockOSThread()
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		fmt.Fprintf(os.Stderr, "bench-runtime: measuring with ordinary priority: %v\n", err)
	}
}

func run(out string, rounds, repeat int) error {
	fmt.Println("nanoseconds per answer about a path of 60 bytes, best round; over: above the program that only chooses the path")
	fmt.Printf("%8s %8s %8s %8s %8s %8s %8s %8s %10s\n", "rules", "paths", "judge", "over", "subject", "draw", "empty", "denied", "KiB/side")
	var all []measurement
	var grown error
	for _, hit := range []bool{true, false} {
		var first measurement
		for _, rules := range []int{10, 1000, 100_000} {
			m, err := measure(rules, hit, rounds, repeat)
			if err != nil {
				return fmt.Errorf("%d rules: %w", rules, err)
			}
			if first.Rules == 0 {
				first = m
			}
			all = append(all, m)
			fmt.Printf("%8d %8s %8.0f %8.0f %8.0f %8.0f %8.0f %7.0f%% %10d\n", m.Rules, m.Paths, m.Judge, m.over(), m.Subject, m.Draw, m.Empty,
				100*m.denied, m.lines*bpf.LineSize/1024)
		}
		last := all[len(all)-1]
		fmt.Printf("%8s %8s %.2f times from 10 to 100k rules (%.2f over the choice of a path); %.1f times the empty program\n", "", last.Paths,
			last.Judge/first.Judge, last.over()/first.over(), last.Judge/last.Empty)
		grown = errors.Join(grown, flat(first, last))
	}
	if out == "" {
		return grown
	}
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(out, append(b, '\n'), 0o644), grown)
}

// mostGrowth is how much longer an answer may take with 100k rules than with 10. How many
// lines a path is looked up in does not depend on how many there are.
const mostGrowth = 1.5

// errGrows says that the time of an answer depends on how many rules there are.
var errGrows = errors.New("an answer takes longer with more rules than it may")

// flat compares the answer itself, without the choice of a path: that would only hide growth.
func flat(few, many measurement) error {
	if growth := many.over() / few.over(); growth > mostGrowth || few.over() <= 0 {
		return fmt.Errorf("%s paths: %.2f times from %d to %d rules, at most %.1f: %w", few.Paths, growth, few.Rules, many.Rules, mostGrowth, errGrows)
	}
	return nil
}

// samples is how many paths are chosen from.
const samples = 4096

func measure(rules int, hit bool, rounds, repeat int) (measurement, error) {
	m := measurement{Rules: rules, Paths: "none's"}
	if hit {
		m.Paths = "rules'"
	}
	// More than a node is ever sent: snapshot.MaxRulesPerNode. The longest table that an
	// agent has lies between those measured.
	t, err := datapath.NewRuntimeTrial(datapath.TrialOptions{
		Questions: 1, Baseline: samples,
		Layout: layout.Options{Unbound: layout.UnboundAllow, MaxRules: 1 << 18},
		Variables: map[string]any{
			"sample_mask": uint32(samples - 1), "sample_name": layout.ContainerName("app"),
			"sample_operations": uint32(1), "sample_section": uint8(1),
		},
	})
	if err != nil {
		return m, err
	}
	defer t.Close()
	delta, paths := rows(rules)
	if _, err := t.Apply(context.Background(), layout.Update{Full: true, Delta: delta}); err != nil {
		return m, err
	}
	m.lines = t.Layout().Len()
	if err := fill(t.Programs().Maps[bpf.MapRuntimeSamples], paths, hit); err != nil {
		return m, err
	}
	for name, into := range map[string]*float64{
		bpf.ProgramRuntimeBenchJudge: &m.Judge, bpf.ProgramRuntimeBenchSubject: &m.Subject,
		bpf.ProgramRuntimeBenchDraw: &m.Draw, bpf.ProgramRuntimeBenchEmpty: &m.Empty,
	} {
		if *into, err = best(t.Programs().Programs[name], rounds, repeat); err != nil {
			return m, fmt.Errorf("%s: %w", name, err)
		}
	}
	var denied uint64
	if err := t.Programs().Variables["rt_denied"].Get(&denied); err != nil {
		return m, err
	}
	m.denied = float64(denied) / float64(rounds*repeat)
	if hit == (m.denied == 0) {
		return m, fmt.Errorf("%.0f%% of the paths were denied", 100*m.denied)
	}
	return m, nil
}

// best is the shortest mean of several rounds.
func best(p *ebpf.Program, rounds, repeat int) (float64, error) {
	packet := make([]byte, 64)
	shortest := time.Duration(1 << 62)
	for range rounds {
		_, took, err := p.Benchmark(packet, repeat, nil)
		if err != nil {
			return 0, err
		}
		shortest = min(shortest, took)
	}
	return float64(shortest.Nanoseconds()), nil
}
