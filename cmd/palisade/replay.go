package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
)

type replayOptions struct {
	source source
	files  []string
	output string
	all    bool
}

func newReplay(e *env) *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Say what changed policies would have denied of what was recorded",
		Long: `Replay asks policies about recorded events, operation by operation: what was
allowed then and would be denied now, and the other way round, each once, with how
often it happened and which rule decides. Nothing is enforced and nothing runs.

Policies, pods and namespaces come from manifests (-f) or from the cluster. An event
of a pod that is not there any more is counted as not judged.

What a policy in mode Audit, or a rule with action Audit, would deny is listed as
staged and counted apart. The exit code is 3 if something that was allowed would be
denied, now or once Audit is enforced.

An event tells what the kernel compared: the path, and whether the process owned the
file. The kernel judges from by all that a process and those above it ever executed;
an event has what it and the eight above it executed when it was recorded. So a rule
with from does not match here, though it does there, if its executable was a shell
that became the program (exec without fork), or a process above that has ended.`,
		Example: `  # Would the policy that propose made deny anything of last week?
  palisade replay --events events.jsonl -f manifests/ -f db.yaml

  # For scripts, all operations:
  palisade replay --events events.jsonl -f manifests/ --all -o json | jq 'select(.verdict != .was)'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	o.source.addFlags(cmd.Flags())
	f := cmd.Flags()
	f.StringArrayVar(&o.files, "events", nil, "recorded events (palisade events -o json); - is standard input; may be repeated")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	f.BoolVar(&o.all, "all", false, "list the operations whose verdict stays the same, too")
	return cmd
}

func (o *replayOptions) run(ctx context.Context, e *env) error {
	if err := checkFormat(o.output, "table", "json"); err != nil {
		return err
	}
	if len(o.files) == 0 {
		return errors.New("--events: name a file of recorded events, or - for standard input")
	}
	world, err := o.source.world(ctx, e)
	if err != nil {
		return err
	}
	compiled, err := compileWorld(world, e.stderr)
	if err != nil {
		return err
	}
	tables, err := analysis.FromTables(compiled.Nodes, compiled.Common)
	if err != nil {
		return err
	}
	r := newReplayed(world.Cluster, tables)
	if err := readRecorded(ctx, e, o.files, r.line); err != nil {
		return err
	}
	rows := r.sorted(o.all)
	if o.output == "json" {
		err = printList(e.stdout, rows)
	} else {
		err = r.print(e.stdout, rows)
	}
	if err != nil {
		return err
	}
	if r.denied+r.staged > 0 {
		return errDeny
	}
	return nil
}

// replayRow is one operation, however often it was recorded. Fields only grow.
type replayRow struct {
	Who       string        `json:"who"`
	Process   string        `json:"process,omitempty"`
	Operation string        `json:"operation"`
	Object    string        `json:"object"`
	Times     int           `json:"times"`
	Was       string        `json:"was"`
	Verdict   string        `json:"verdict"`
	By        decisionJSON  `json:"by"`
	Staged    *decisionJSON `json:"staged,omitempty"`
}

func (r *replayRow) changed() bool {
	return r.Was != r.Verdict || r.Staged != nil
}

type replayed struct {
	pods   map[string]model.UID // by NAMESPACE/NAME
	tables *analysis.Tables

	rows     map[string]*replayRow
	events   int
	lost     uint64
	unknown  map[string]int // events by pod that is not there
	unjudged map[string]int // events that no policy can be asked about, by what they are
	denied   int            // events that were allowed
	staged   int            // events that were allowed and are, but for Audit
}

func newReplayed(c model.Cluster, tables *analysis.Tables) *replayed {
	r := &replayed{pods: map[string]model.UID{}, tables: tables, rows: map[string]*replayRow{}, unknown: map[string]int{}, unjudged: map[string]int{}}
	for i := range c.Endpoints {
		if p := &c.Endpoints[i]; p.ID.Kind == model.EndpointPod {
			r.pods[p.ID.String()] = p.UID
		}
	}
	return r
}

func (r *replayed) line(line []byte) error {
	return events.Read(line, func(e events.Event) error {
		r.events++
		return r.take(e)
	}, func(l flows.Losses) error {
		r.lost += l.Lost
		return nil
	})
}

func (r *replayed) take(e events.Event) error {
	who := analysis.Container{Node: model.NodeName(e.Node)}
	if e.Pod != nil {
		pod := e.Pod.Namespace + "/" + e.Pod.Name
		uid, ok := r.pods[pod]
		if !ok {
			r.unknown[pod]++
			return nil
		}
		who = analysis.Container{UID: string(uid)}
	}
	if e.Container != nil {
		who.Name = e.Container.Name
	}
	if e.Type == events.TypeExit {
		return nil
	}
	operations := operationsOf(e)
	if len(operations) == 0 {
		r.unjudged[strings.TrimSpace(string(e.Type)+" "+e.Object())]++
		return nil
	}
	answers := make([]model.Judgement, len(operations))
	for i, op := range operations {
		var err error
		if answers[i], err = r.tables.JudgeRuntime(who, op); err != nil {
			return err
		}
	}
	// Each operation counts, and both ends of a rename: the strictest, as in the kernel.
	r.note(e, strictest(answers))
	return nil
}

func (r *replayed) note(e events.Event, j model.Judgement) {
	row := replayRow{
		Who: e.String(), Process: e.Process.Executable, Operation: e.Operation(), Object: e.Object(),
		Was: string(e.Verdict), Verdict: j.Enforced.Verdict.String(), By: decisionOf(j.Enforced),
	}
	if staged := decisionOf(j.Staged); staged.Verdict != row.Verdict {
		row.Staged = &staged
	}
	switch allowed := string(flows.Allow); {
	case row.Was == allowed && row.Verdict != allowed:
		r.denied++
	case row.Was == allowed && row.Staged != nil:
		r.staged++
	}
	key := strings.Join([]string{row.Who, row.Process, row.Operation, row.Object, row.Was}, "\x00")
	if r.rows[key] == nil {
		r.rows[key] = &row
	}
	r.rows[key].Times++
}

// sorted lists the rows, what is denied newly first.
func (r *replayed) sorted(all bool) []replayRow {
	var out []replayRow
	for _, row := range r.rows {
		if all || row.changed() {
			out = append(out, *row)
		}
	}
	newly := func(x replayRow) int {
		switch {
		case x.Was == string(flows.Allow) && x.Verdict != x.Was:
			return 0
		case x.Was != x.Verdict:
			return 1
		}
		return 2
	}
	slices.SortFunc(out, func(a, b replayRow) int {
		return cmp.Or(cmp.Compare(newly(a), newly(b)), cmp.Compare(a.Who, b.Who), cmp.Compare(a.Process, b.Process),
			cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Was, b.Was))
	})
	return out
}

func (r *replayed) print(out io.Writer, rows []replayRow) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(rows) > 0 {
		fmt.Fprintln(w, "WAS\tWOULD BE\tTIMES\tWHO\tPROCESS\tOPERATION\tOBJECT\tDECIDED BY")
	}
	for _, x := range rows {
		by := x.By.Tier + " " + x.By.Policy + " " + x.By.Rule
		if x.Staged != nil {
			by += fmt.Sprintf(" (staged: %s by %s %s)", x.Staged.Verdict, x.Staged.Policy, x.Staged.Rule)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", x.Was, x.Verdict, x.Times, x.Who, x.Process, x.Operation, x.Object, by)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d of %d events were allowed and would be denied\n", r.denied, r.events)
	if err == nil && r.staged > 0 {
		_, err = fmt.Fprintf(out, "%d more would be denied if Audit were enforced\n", r.staged)
	}
	if err == nil && r.lost > 0 {
		_, err = fmt.Fprintf(out, "%d events were lost while recording\n", r.lost)
	}
	for _, pod := range slices.Sorted(maps.Keys(r.unknown)) {
		if err == nil {
			_, err = fmt.Fprintf(out, "not judged: %d events of %s, which is not there\n", r.unknown[pod], pod)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(r.unjudged)) {
		if err == nil {
			_, err = fmt.Fprintf(out, "not judged: %d events of %s: no policy can be asked about that\n", r.unjudged[what], what)
		}
	}
	return err
}

// operationsOf are the questions that an event stands for, one for each operation; none
// for an exit, and for what policies do not judge or this version does not know.
func operationsOf(e events.Event) []model.Operation {
	op := model.Operation{Executable: e.Process.Executable}
	for _, a := range e.Ancestors {
		op.Ancestry = append(op.Ancestry, a.Executable)
	}
	switch {
	case e.Exec != nil:
		op.Section, op.Path, op.Origin, op.Mapping = model.SectionExecutables, e.Exec.Path, translate.OriginBits[v1alpha1.Origin(e.Exec.Origin)], e.Exec.Mapping
		op.Arguments, op.Unresolvable = e.Exec.Arguments, e.Exec.Unresolvable
		return []model.Operation{op}
	case e.File != nil:
		op.Section, op.Path, op.Origin = model.SectionFiles, e.File.Path, translate.OriginBits[v1alpha1.Origin(e.File.Origin)]
		op.Unresolvable, op.Owned, op.Directory = e.File.Unresolvable, e.File.Owned, e.File.Directory
		out := each(op, e.File.Operations, translate.FileOperations)
		if e.File.Target != "" && out != nil {
			// The end that gets a name is created; if it replaces something, the kernel
			// tells that in a record of its own.
			op.Path, op.Bits, op.Unresolvable = e.File.Target, uint32(model.FileCreate), false
			out = append(out, op)
		}
		return out
	case e.Privilege != nil:
		op.Section = model.SectionPrivileges
		if c := e.Privilege.Capability; c != "" {
			n := slices.Index(v1alpha1.Capabilities, v1alpha1.Capability(c))
			if n < 0 {
				return nil
			}
			op.Capability = uint8(n)
		}
		return each(op, e.Privilege.Operations(), translate.PrivilegeOperations)
	case e.Network != nil:
		op.Section = model.SectionNetwork
		op.Proto, op.Address, op.Port = protocolNumber(e.Network.Protocol), e.Network.Address, model.Port(e.Network.Port)
		op.Unresolvable = e.Network.Unresolvable
		return each(op, e.Network.Operations(), translate.SocketOperations)
	}
	return nil
}

// each asks for every operation by itself, as the kernel does; none if one is not known.
func each[N ~string, B ~uint32](op model.Operation, names []string, bits map[N]B) []model.Operation {
	var out []model.Operation
	for _, name := range names {
		bit, ok := bits[N(name)]
		if !ok {
			return nil
		}
		op.Bits = uint32(bit)
		out = append(out, op)
	}
	return out
}

// protocolNumber reads what flows.Protocol writes.
func protocolNumber(name string) model.Protocol {
	for _, p := range []model.Protocol{model.ProtoICMP, model.ProtoTCP, model.ProtoUDP, model.ProtoICMPv6, model.ProtoSCTP} {
		if flows.Protocol(uint8(p)) == name {
			return p
		}
	}
	n, err := strconv.ParseUint(name, 10, 8)
	if err != nil {
		return model.ProtoAny
	}
	return model.Protocol(n)
}
