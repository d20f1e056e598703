package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/snapshot"
)

type hostOptions struct {
	local  local
	output string
}

func newHost(e *env) *cobra.Command {
	var o hostOptions
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Show what this host enforces, and what it lacks",
		Long: `Host shows which generation this host's kernel enforces, which pods are bound to
which interfaces, and what the host lacks to enforce everything: also that
packets are not judged, where the kernel can only judge what processes do. It changes
nothing and needs no cluster; it works beside an agent and after palisade apply.

Exit code: 0; 2 for an error, also where nothing is enforced.`,
		Example: `  palisade host
  palisade host -o json | jq -r .generation`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return o.run(e) },
	}
	o.local.addFlags(cmd.Flags())
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table or json")
	return cmd
}

// hostJSON is what host prints. Its fields only grow.
type hostJSON struct {
	Node       string         `json:"node"`
	Generation string         `json:"generation"`
	Digest     string         `json:"digest"`
	Pods       []hostPodJSON  `json:"pods"`
	Lacks      []hostLackJSON `json:"lacks"`
}

type hostPodJSON struct {
	Pod       string   `json:"pod"`
	Addresses []string `json:"addresses"`
	Interface string   `json:"interface"`
}

type hostLackJSON struct {
	Severity string `json:"severity"`
	Reason   string `json:"reason"`
	What     string `json:"what"`
	Where    string `json:"where"`
	Mend     string `json:"mend"`
}

var errNotEnforcing = errors.New("the kernel enforces nothing: the programs are gone, as after a reboot; start the agent or apply again")

func (o *hostOptions) run(e *env) error {
	if err := checkFormat(o.output, "table", "json"); err != nil {
		return err
	}
	lacks := nodeagent.Look(o.local.host)
	if fatal := host.Only(lacks, host.Fatal); len(fatal) > 0 {
		return fmt.Errorf("%w: %s", nodeagent.ErrHost, host.Join(fatal))
	}
	in, err := nodeagent.ReadHost(datapath.Config{PinDir: o.local.host.PinDir}, o.local.stateDir)
	if err != nil {
		return err
	}
	if in.Generation == (snapshot.Generation{}) {
		return errNotEnforcing
	}
	return o.print(e.stdout, hostOf(in, lacks))
}

// hostOf says what is in force on a host, and what the host lacks.
func hostOf(in nodeagent.InForce, lacks []host.Finding) hostJSON {
	out := hostJSON{Node: in.Node, Generation: in.Generation.String(), Digest: in.Digest.String(), Pods: []hostPodJSON{}, Lacks: []hostLackJSON{}}
	for _, a := range in.Pods {
		p := hostPodJSON{Pod: a.Pod.String(), Addresses: []string{}, Interface: a.Host.Name}
		for _, addr := range a.Addrs {
			p.Addresses = append(p.Addresses, addr.String())
		}
		out.Pods = append(out.Pods, p)
	}
	for _, f := range lacks {
		out.Lacks = append(out.Lacks, hostLackJSON{f.Severity.String(), string(f.Reason), f.What, f.Where, f.Mend})
	}
	return out
}

func (o *hostOptions) print(w io.Writer, h hostJSON) error {
	if o.output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(h)
	}
	printHost(w, h)
	return nil
}

func printHost(w io.Writer, h hostJSON) {
	fmt.Fprintf(w, "node %s enforces generation %s (digest %.12s)\n", h.Node, h.Generation, h.Digest)
	for _, p := range h.Pods {
		fmt.Fprintf(w, "  pod %s %v behind %s\n", p.Pod, p.Addresses, p.Interface)
	}
	for _, l := range h.Lacks {
		fmt.Fprintf(w, "  lacks: %s: %s (%s); to mend: %s\n", l.Severity, l.What, l.Where, l.Mend)
	}
}
