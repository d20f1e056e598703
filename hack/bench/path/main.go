// Command path measures what the hook costs real packets: throughput, round trips and new
// connections between two pods on one bridge, without and with the programs, in
// turns of the same run.
//
//	go run ./hack/bench/path
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/snapshot"
)

func main() {
	seconds := flag.Float64("seconds", 0.5, "how long one measurement takes")
	rounds := flag.Int("rounds", 11, "turns; the median counts")
	flag.Parse()
	if err := run(time.Duration(*seconds*float64(time.Second)), *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench-path:", err)
		os.Exit(1)
	}
}

// sample is what one turn found.
type sample struct {
	throughput float64 // bits a second
	trip, tail time.Duration
	connects   float64 // a second
}

func run(each time.Duration, rounds int) (err error) {
	l, err := newLab()
	if l != nil {
		defer func() { err = joined(err, l.close()) }()
	}
	if err != nil {
		return err
	}
	var without, with []sample
	for range rounds {
		s, err := measure(l, each)
		if err != nil {
			return err
		}
		without = append(without, s)
		dp, err := attach(l)
		if err != nil {
			return err
		}
		s, err = measure(l, each)
		if err := joined(err, l.inNode(dp.Uninstall)); err != nil {
			return err
		}
		with = append(with, s)
	}
	a, b := median(without), median(with)
	fmt.Printf("%-28s %12s %12s %8s\n", "between two pods (median)", "without", "with", "ratio")
	fmt.Printf("%-28s %12.2f %12.2f %8.3f\n", "TCP throughput, Gbit/s", a.throughput/1e9, b.throughput/1e9, b.throughput/a.throughput)
	fmt.Printf("%-28s %12s %12s %8.3f\n", "TCP round trip, median", a.trip, b.trip, float64(b.trip)/float64(a.trip))
	fmt.Printf("%-28s %12s %12s %8.3f\n", "TCP round trip, 99th", a.tail, b.tail, float64(b.tail)/float64(a.tail))
	fmt.Printf("%-28s %12.0f %12.0f %8.3f\n", "connections a second", a.connects, b.connects, b.connects/a.connects)
	return nil
}

func median(all []sample) sample {
	at := func(value func(sample) float64) float64 {
		var v []float64
		for _, s := range all {
			v = append(v, value(s))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return sample{
		throughput: at(func(s sample) float64 { return s.throughput }),
		trip:       time.Duration(at(func(s sample) float64 { return float64(s.trip) })),
		tail:       time.Duration(at(func(s sample) float64 { return float64(s.tail) })),
		connects:   at(func(s sample) float64 { return s.connects }),
	}
}

// attach brings a policy for both pods into force.
func attach(l *lab) (*datapath.Datapath, error) {
	if !l.mounted {
		if err := unix.Mount("bpf", l.dir, "bpf", 0, "mode=0700"); err != nil {
			return nil, fmt.Errorf("mount bpf: %w", err)
		}
		l.mounted = true
	}
	var dp *datapath.Datapath
	err := l.inNode(func() (err error) {
		dp, err = datapath.Open(datapath.Config{PinDir: filepath.Join(l.dir, "palisade")})
		if err != nil {
			return err
		}
		_, err = dp.Apply(context.Background(), layout.Update{Full: true, Generation: snapshot.Generation{Counter: 1}, Delta: policy(), Facts: l.facts()})
		return err
	})
	return dp, err
}

// policy isolates both pods in both directions and accepts one from the other.
func policy() snapshot.Delta {
	var d snapshot.Delta
	add := func(r snapshot.Row) { d.Upserts = append(d.Upserts, snapshot.Encode(r)) }
	add(snapshot.MetaRow{Node: "node"})
	answer := func(name string, deny bool) snapshot.Answer {
		id := snapshot.NewRuleID([]byte(name))
		add(snapshot.RuleRow{ID: id, Tier: 2, PolicyKind: 2, Namespace: "bench", Policy: "pods", Rule: name})
		return snapshot.Answer{Rule: id, StagedRule: id, Deny: deny, StagedDeny: deny}
	}
	program := func(p snapshot.ProgramRow) snapshot.ProgramID {
		p.ID = p.ContentID()
		add(p)
		return p.ID
	}
	shut := answer("shut", true)
	open := program(snapshot.ProgramRow{Default: shut, Segments: []snapshot.Segment{{Proto: 6, Lo: 1, Hi: 65535, Answer: answer("open", false)}}})
	none := program(snapshot.ProgramRow{Default: shut})
	group := snapshot.NewGroupID([]byte("pods"))
	kind := snapshot.NewKindID([]byte("pods"))
	add(snapshot.KindRow{ID: kind, Groups: []snapshot.GroupID{group}})
	var sets [2]snapshot.RulesetID
	for i, name := range []string{"in", "out"} {
		sets[i] = snapshot.NewRulesetID([]byte(name))
		add(snapshot.RulesetRow{ID: sets[i], Egress: i == 1, Groups: []snapshot.GroupID{group}})
		add(snapshot.CellRow{Ruleset: sets[i], Set: snapshot.SetOf(nil), Program: none})
		add(snapshot.CellRow{Ruleset: sets[i], Set: snapshot.SetOf([]snapshot.GroupID{group}), Program: open})
	}
	add(snapshot.SubjectRow{Kind: kind, Ingress: sets[0], Egress: sets[1]})
	for _, name := range []string{"a", "b"} {
		add(snapshot.LocalRow{UID: name, Kind: kind, Namespace: "bench", Name: name})
	}
	return d
}
