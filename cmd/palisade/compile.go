package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

type compileOptions struct {
	source source
	output string
	stats  string
}

func newCompile(e *env) *cobra.Command {
	var o compileOptions
	cmd := &cobra.Command{
		Use:   "compile",
		Short: "Compile policies into what every node enforces",
		Long: `Compile turns policies and endpoints into the rows that every node enforces, and
prints how many each node has and their digest. Equal input gives equal digests.

With -o the rows themselves are written as JSON, one row a line, in the order of
the digest: first those common to all nodes (node ""), then each node's own. The
node called "(none)" holds what is about pods without a node and about external
workloads.

Exit code: 0; 2 for an error, also for a policy of manifests that does not fit. Of a
live cluster it is what nodes enforce in its place that is printed.`,
		Example: `  # Do these manifests compile?
  palisade compile -f manifests/

  # Compare what two versions of a directory come to:
  palisade compile -f old/ -o old.jsonl && palisade compile -f new/ -o new.jsonl && diff old.jsonl new.jsonl

  # Sizes, for scripts:
  palisade compile -f manifests/ --stats json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	o.source.addFlags(cmd.Flags())
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "file for the rows; - for standard output, instead of the sizes")
	cmd.Flags().StringVar(&o.stats, "stats", "table", "how to print the sizes: table or json")
	return cmd
}

func (o *compileOptions) run(ctx context.Context, e *env) error {
	if o.stats != "table" && o.stats != "json" {
		return fmt.Errorf("--stats %q: write table or json", o.stats)
	}
	world, err := o.source.world(ctx, e)
	if err != nil {
		return err
	}
	c, err := compileNodes(world, e.stderr)
	if err != nil {
		return err
	}
	if o.output == "-" {
		return c.writeRows(e.stdout)
	}
	if o.output != "" {
		if err := c.writeFile(o.output); err != nil {
			return err
		}
	}
	return c.printStats(e.stdout, o.stats, world.Cluster)
}

// compiled is what compiling gives: rows common to all nodes, and each node's own.
type compiled struct {
	common *snapshot.Set
	nodes  map[model.NodeName]*snapshot.Set
}

func compileNodes(world *manifests.World, stderr io.Writer) (*compiled, error) {
	c, err := compileWorld(world, stderr)
	if err != nil {
		return nil, err
	}
	return &compiled{common: c.Common, nodes: c.Nodes}, nil
}

func (c *compiled) names() []model.NodeName {
	names := make([]model.NodeName, 0, len(c.nodes))
	for name := range c.nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// shown is how a node is called in output.
func shown(name model.NodeName) string {
	if name == "" {
		return "(none)"
	}
	return string(name)
}

// writeFile writes the rows to a file, whole or not at all.
func (c *compiled) writeFile(name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".palisade-*")
	if err != nil {
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = p.Err
		}
		return fmt.Errorf("-o %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err = errors.Join(c.writeRows(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (c *compiled) writeRows(w io.Writer) error {
	b := bufio.NewWriter(w)
	if err := writeSet(b, "", c.common); err != nil {
		return err
	}
	for _, name := range c.names() {
		if err := writeSet(b, shown(name), c.nodes[name]); err != nil {
			return err
		}
	}
	return b.Flush()
}

func writeSet(w io.Writer, node string, set *snapshot.Set) error {
	for _, entry := range set.Entries() {
		row, err := snapshot.Decode(entry)
		if err != nil {
			return err
		}
		data, err := json.Marshal(rowJSON{Node: node, Table: entry.Table.String(), Row: readable(row)})
		if err != nil {
			return err
		}
		if _, err := w.Write(append(data, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// statsJSON is what --stats json prints.
type statsJSON struct {
	Policies  int             `json:"policies"`
	Endpoints int             `json:"endpoints"`
	Nodes     []nodeStatsJSON `json:"nodes"`
}

type nodeStatsJSON struct {
	Node   string         `json:"node"`
	Rows   int            `json:"rows"` // with the common ones
	Tables map[string]int `json:"tables"`
	Bytes  int            `json:"bytes"`
	Digest string         `json:"digest"` // of the common and the node's own rows
}

func (c *compiled) printStats(w io.Writer, format string, cluster model.Cluster) error {
	stats := statsJSON{Policies: len(cluster.Policies), Endpoints: len(cluster.Endpoints), Nodes: []nodeStatsJSON{}}
	for _, name := range c.names() {
		n := nodeStatsJSON{Node: shown(name), Tables: map[string]int{}}
		for _, set := range []*snapshot.Set{c.common, c.nodes[name]} {
			for _, entry := range set.Entries() {
				n.Rows++
				n.Tables[entry.Table.String()]++
				n.Bytes += len(entry.Key) + len(entry.Value)
			}
		}
		n.Digest = c.common.Sum().Combine(c.nodes[name].Sum()).Digest().String()
		stats.Nodes = append(stats.Nodes, n)
	}
	if format == "json" {
		data, err := json.MarshalIndent(stats, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", data)
		return err
	}
	fmt.Fprintf(w, "policies: %d, endpoints: %d, addresses: %d\n", stats.Policies, stats.Endpoints, c.common.Len())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tROWS\tCELLS\tPROGRAMS\tBYTES\tDIGEST")
	for _, n := range stats.Nodes {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\n", n.Node, n.Rows, n.Tables["cell"], n.Tables["program"], n.Bytes, n.Digest)
	}
	return t.Flush()
}
