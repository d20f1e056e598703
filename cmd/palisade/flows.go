package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/flows"
)

type flowsOptions struct {
	local   local
	agents  agents
	socket  string
	output  string
	verdict string
	query   flows.Query
	filter  flows.Filter
}

func newFlows(e *env) *cobra.Command {
	var o flowsOptions
	cmd := &cobra.Command{
		Use:   "flows",
		Short: "Show what this host, or a cluster, denied, and who decided it",
		Long: `Flows shows the records of this host, or with --cluster those of all nodes of a
cluster: connections that were denied, that a rule with log: true accepted, or that
Audit policies would have judged otherwise. Each names both ends, the verdict, and the
tier, policy and rule that made it. The records of one connection that two nodes
denied are two.

Where an agent runs they come from its socket: the last ones, and with --follow
those to come. Where none runs, after palisade apply, they come from the kernel,
which gives out each record once. Losses are shown: a rule makes at most 50
records a second.`,
		Example: `  # What was denied lately on this host, and by which rule?
  palisade flows --verdict Deny

  # On all nodes of a cluster, from anywhere:
  palisade flows --cluster --follow

  # For scripts:
  palisade flows -o json | jq -r 'select(.verdict == "Deny") | .policy'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "table", "table or json (one record a line)")
	f.StringVar(&o.verdict, "verdict", "", "only Allow, or only Deny")
	f.StringVar(&o.filter.Namespace, "namespace", "", "only where one of the ends is in this namespace")
	f.StringVar(&o.filter.Pod, "pod", "", "only where one of the ends is this: NAMESPACE/NAME or NAME")
	f.StringVar(&o.filter.Policy, "policy", "", "only what this policy decided: KIND/NAMESPACE/NAME as records print it")
	f.BoolVar(&o.query.Follow, "follow", false, "go on with what comes")
	f.IntVar(&o.query.Last, "last", 1000, "how many past records to show at most")
	f.StringVar(&o.socket, "socket", flows.DefaultSocket, "where the agent gives out flows")
	o.local.addFlags(f)
	o.agents.addFlags(f)
	return cmd
}

func (o *flowsOptions) run(ctx context.Context, e *env) error {
	if err := checkFormat(o.output, "table", "json"); err != nil {
		return err
	}
	switch o.filter.Verdict = flows.Verdict(o.verdict); o.filter.Verdict {
	case "", flows.Allow, flows.Deny:
	default:
		return fmt.Errorf("--verdict %q: write Allow or Deny", o.verdict)
	}
	p := &flows.Printer{Filter: o.filter, JSON: o.output == "json", Out: e.stdout}
	if o.agents.asked {
		return o.agents.records(ctx, e, "flows", o.query, p.Line)
	}
	if _, err := os.Stat(o.socket); !errors.Is(err, fs.ErrNotExist) {
		return flows.Read(ctx, o.socket, o.query, p.Line)
	}
	err := nodeagent.ReadKernel(ctx, datapath.Config{PinDir: o.local.host.PinDir}, o.local.stateDir, o.query.Follow, func(f flows.Flow) error {
		line, err := json.Marshal(f)
		if err != nil {
			return err
		}
		return p.Line(line)
	})
	if errors.Is(err, nodeagent.ErrNothingHeld) {
		return fmt.Errorf("%w; for the nodes of a cluster: palisade flows --cluster", err)
	}
	return err
}
