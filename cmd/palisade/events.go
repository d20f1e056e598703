package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
)

type eventsOptions struct {
	agents  agents
	socket  string
	files   []string
	output  string
	kind    string
	verdict string
	query   flows.Query
	filter  events.Filter
}

func newEvents(e *env) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what processes of this host, or a cluster, asked for, and who decided it",
		Long: `Events shows the records of processes on this host, or with --cluster on all nodes
of a cluster: programs executed, and files, privileges and connections that were
denied, that Audit policies would have judged otherwise, or that a rule asked to see.
Each names the pod and container, the process, the verdict, and the tier, policy and
rule that made it.

They come from the agent of this host: the last ones, and with --follow those to
come; or, with --events, from files that were recorded with -o json. Losses are
shown.`,
		Example: `  # What was stopped lately on this host?
  palisade events --verdict Deny

  # On all nodes of a cluster, recorded for palisade propose and palisade replay:
  palisade events --cluster --follow -o json > events.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "table", "table or json (one record a line)")
	f.StringVar(&o.kind, "type", "", "only exec, exit, file, privilege or network")
	f.StringVar(&o.verdict, "verdict", "", "only Allow, only Deny, or only Kill")
	f.StringVar(&o.filter.Namespace, "namespace", "", "only of pods in this namespace")
	f.StringVar(&o.filter.Pod, "pod", "", "only of this pod: NAMESPACE/NAME or NAME")
	f.StringVar(&o.filter.Policy, "policy", "", "only what this policy decided: KIND/NAMESPACE/NAME as records print it")
	f.BoolVar(&o.query.Follow, "follow", false, "go on with what comes")
	f.IntVar(&o.query.Last, "last", 1000, "how many past records to show at most")
	f.StringVar(&o.socket, "socket", flows.DefaultSocket, "where the agent gives out records")
	o.agents.addFlags(f)
	f.StringArrayVar(&o.files, "events", nil, "read recorded events from this file instead; - is standard input; may be repeated")
	return cmd
}

func (o *eventsOptions) run(ctx context.Context, e *env) error {
	if err := checkFormat(o.output, "table", "json"); err != nil {
		return err
	}
	switch o.filter.Type = events.Type(o.kind); o.filter.Type {
	case "", events.TypeExec, events.TypeExit, events.TypeFile, events.TypePrivilege, events.TypeNetwork:
	default:
		return fmt.Errorf("--type %q: write exec, exit, file, privilege or network", o.kind)
	}
	switch o.filter.Verdict = flows.Verdict(o.verdict); o.filter.Verdict {
	case "", flows.Allow, flows.Deny, events.Kill:
	default:
		return fmt.Errorf("--verdict %q: write Allow, Deny or Kill", o.verdict)
	}
	p := &events.Printer{Filter: o.filter, JSON: o.output == "json", Out: e.stdout}
	if len(o.files) > 0 {
		return readRecorded(ctx, e, o.files, p.Line)
	}
	if o.agents.asked {
		return o.agents.records(ctx, e, "events", o.query, p.Line)
	}
	if _, err := os.Stat(o.socket); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no agent gives out records at %s: run this where one runs, ask all of a cluster with --cluster, or read a file with --events", o.socket)
	}
	return flows.Read(ctx, o.socket, o.query, p.Line)
}

// readRecorded calls each with every line of files of JSON lines.
func readRecorded(ctx context.Context, e *env, files []string, each func([]byte) error) error {
	for _, name := range files {
		in := io.NopCloser(e.stdin)
		if name != "-" {
			file, err := os.Open(name)
			if err != nil {
				return fmt.Errorf("--events: %w", err)
			}
			in = file
		}
		number := 0
		err := errors.Join(flows.Lines(ctx, in, func(line []byte) error {
			number++
			if err := each(line); err != nil {
				return fmt.Errorf("--events: %s:%d: %w", name, number, err)
			}
			return nil
		}), in.Close())
		if err != nil {
			return err
		}
	}
	return nil
}
