package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
)

type reachOptions struct {
	source source
	judge  judgeFlag
	ports  []string
	output string
}

func newReach(e *env) *cobra.Command {
	var o reachOptions
	cmd := &cobra.Command{
		Use:   "reach --port PORT/PROTOCOL",
		Short: "Say for all pairs of pods who reaches whom, and which rule says so",
		Long: `Reach judges every ordered pair of pods, each pod with itself included, and
prints the pairs sorted by name. Pods with host networking are left out: they are
their nodes. Pods without an address are left out and named on standard error.

Exit code: 0 if all pairs are allowed on all ports, 3 if one is denied, 2 error.`,
		Example: `  # Who reaches whom on port 8080?
  palisade reach -f manifests/ --port 8080/tcp

  # What changes if the new manifests are applied?
  diff <(palisade reach --port 8080/tcp -o json) <(palisade reach -f new/ --port 8080/tcp -o json)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	o.source.addFlags(cmd.Flags())
	o.judge.addFlags(cmd.Flags())
	cmd.Flags().StringSliceVar(&o.ports, "port", nil, "port and protocol, such as 8080/tcp; several with commas")
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table or json")
	return cmd
}

func (o *reachOptions) run(ctx context.Context, e *env) error {
	if len(o.ports) == 0 {
		return fmt.Errorf("reach: give --port, such as --port 8080/tcp")
	}
	if err := checkFormat(o.output, "table", "json"); err != nil {
		return err
	}
	var ports []analysis.Port
	for _, text := range o.ports {
		port, err := analysis.ParsePort(text)
		if err != nil {
			return fmt.Errorf("--%w", err)
		}
		ports = append(ports, port)
	}
	world, err := o.source.world(ctx, e)
	if err != nil {
		return err
	}
	ends, without := podsOf(world.Cluster)
	for _, name := range without {
		fmt.Fprintf(e.stderr, "palisade: pod %s has no address yet and is left out\n", name)
	}
	judge, err := o.judge.make(world, e.stderr)
	if err != nil {
		return err
	}
	answers, err := analysis.Reach(judge, ends, ports)
	if err != nil {
		return err
	}
	if err := printAnswers(e.stdout, o.output, answers); err != nil {
		return err
	}
	return verdictOf(answers)
}

// podsOf lists the pods of a cluster by name, those without an address apart.
func podsOf(cluster model.Cluster) (ends []analysis.End, without []string) {
	for _, e := range cluster.Endpoints {
		switch {
		case e.Class() != model.EndpointPod:
		case len(e.Addresses) == 0:
			without = append(without, e.ID.String())
		default:
			ends = append(ends, analysis.End{Name: e.ID.String(), Addresses: e.Addresses})
		}
	}
	slices.Sort(without)
	slices.SortFunc(ends, func(a, b analysis.End) int { return cmp.Compare(a.Name, b.Name) })
	return ends, without
}
