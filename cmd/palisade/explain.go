package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
)

type explainOptions struct {
	source   source
	judge    judgeFlag
	from, to string
	port     string
	process  processOptions
	output   string
}

func newExplain(e *env) *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain (--from END --to END --port PORT/PROTOCOL | --pod NAMESPACE/POD --exec PATH|...)",
		Short: "Say whether a connection or an operation is allowed, and which rule says so",
		Long: `Explain judges one connection, or one operation of a process, and names tier,
policy and rule. Exit code: 0 Allow, 3 Deny or Kill, 2 error.

A connection (--from, --to, --port) is judged in both directions, the egress of its
source and the ingress of its destination. An end is NAMESPACE/POD,
ew:NAMESPACE/NAME for an external workload, node:NAME, or an address. A port is
PORT/tcp, PORT/udp, PORT/sctp, TYPE/icmp, TYPE.CODE/icmp, TYPE/icmpv6 or
PROTOCOL-NUMBER/ip. Connections are judged as they are after translation: name the
pod behind a Service and its target port.

An operation (--pod, --node or --workload, and one of --exec, --map, --file,
--privilege, --capability, --connect, --bind, --listen and --send) is judged by
runtime policies, in each container of the pod or in one (--container). --from is then the file that
the process executes; without it no rule with from matches. Paths are what the kernel
resolves them to, seen from the container: where /bin is a link to /usr/bin, as in
most images, ask about /usr/bin. Whether a node can prevent what is denied is in the
status of the policy. What a socket does is judged as a connection as well.`,
		Example: `  # May the frontend reach the database? From files, without a cluster:
  palisade explain -f manifests/ --from shop/frontend --to shop/db --port 5432/tcp

  # The same on a live cluster, for scripts:
  palisade explain --from shop/frontend --to 203.0.113.9 --port 443/tcp -o json

  # May the database start a shell, or read the password file?
  palisade explain -f manifests/ --pod shop/db --container postgres --exec /usr/bin/dash --from /usr/bin/postgres
  palisade explain -f manifests/ --pod shop/db --file /etc/shadow --operation Read`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(o.output, "table", "json"); err != nil {
				return err
			}
			if slices.ContainsFunc(processFlags, cmd.Flags().Changed) {
				return o.runProcess(cmd.Context(), e, cmd.Flags())
			}
			return o.run(cmd.Context(), e)
		},
	}
	o.source.addFlags(cmd.Flags())
	o.judge.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.from, "from", "", "who opens the connection; the file that the process executes")
	cmd.Flags().StringVar(&o.to, "to", "", "who answers it; where a rename or link leads")
	cmd.Flags().StringVar(&o.port, "port", "", "port and protocol, such as 8080/tcp")
	o.process.addFlags(cmd.Flags())
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table or json")
	return cmd
}

func (o *explainOptions) run(ctx context.Context, e *env) error {
	if o.from == "" || o.to == "" || o.port == "" {
		return fmt.Errorf("explain: give all of --from, --to and --port")
	}
	port, err := analysis.ParsePort(o.port)
	if err != nil {
		return fmt.Errorf("--%w", err)
	}
	world, err := o.source.world(ctx, e)
	if err != nil {
		return err
	}
	from, err := findEnd(world, o.from)
	if err != nil {
		return fmt.Errorf("--from %w", err)
	}
	to, err := findEnd(world, o.to)
	if err != nil {
		return fmt.Errorf("--to %w", err)
	}
	judge, err := o.judge.make(world, e.stderr)
	if err != nil {
		return err
	}
	answers, err := analysis.Explain(judge, from, to, port)
	if err != nil {
		return err
	}
	if o.output == "json" {
		err = printAnswers(e.stdout, o.output, answers)
	} else {
		err = printExplanation(e.stdout, world.Cluster, answers)
	}
	if err != nil {
		return err
	}
	return verdictOf(answers)
}

// verdictOf is errDeny if one of the answers is.
func verdictOf(answers []analysis.Answer) error {
	for _, a := range answers {
		if a.Outcome.Verdict() == model.Deny {
			return errDeny
		}
	}
	return nil
}

// findEnd finds who an end of a question is.
func findEnd(world *manifests.World, name string) (analysis.End, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return analysis.End{Name: name, Addresses: []netip.Addr{a.Unmap()}}, nil
	}
	if addrs, ok := world.HostPods[name]; ok {
		return analysis.End{Name: name, Addresses: addrs}, nil
	}
	id := model.EndpointID{Kind: model.EndpointPod}
	rest := name
	if node, ok := strings.CutPrefix(name, "node:"); ok {
		id.Kind, id.Name = model.EndpointNode, node
	} else {
		if workload, ok := strings.CutPrefix(name, "ew:"); ok {
			id.Kind, rest = model.EndpointExternal, workload
		}
		var ok bool
		if id.Namespace, id.Name, ok = strings.Cut(rest, "/"); !ok {
			return analysis.End{}, fmt.Errorf("%q: write NAMESPACE/POD, ew:NAMESPACE/NAME, node:NAME or an address", name)
		}
	}
	for _, e := range world.Cluster.Endpoints {
		if e.ID == id {
			if len(e.Addresses) == 0 {
				return analysis.End{}, fmt.Errorf("%q: the %s has no address yet, so no connection can be judged (a pod's are in status.podIPs)", name, kindWord(id.Kind))
			}
			return analysis.End{Name: name, Addresses: e.Addresses}, nil
		}
	}
	return analysis.End{}, fmt.Errorf("%q: no such %s", name, kindWord(id.Kind))
}

func kindWord(k model.EndpointKind) string {
	if k == model.EndpointExternal {
		return "external workload"
	}
	return k.String()
}

// printExplanation tells an answer to a person.
func printExplanation(w io.Writer, cluster model.Cluster, answers []analysis.Answer) error {
	var b strings.Builder
	for _, a := range answers {
		family := ""
		if a.Family != analysis.AnyFamily {
			family = " by " + a.Family.String()
		}
		fmt.Fprintf(&b, "%s -> %s %s%s: %s\n", a.From, a.To, a.Port, family, a.Outcome.Verdict())
		for _, d := range []struct {
			name string
			j    model.Judgement
		}{{"egress", a.Outcome.Egress}, {"ingress", a.Outcome.Ingress}} {
			fmt.Fprintf(&b, "  %-8s %s\n", d.name, directionOf(d.j))
			for _, line := range meaning(cluster, d.j.Enforced) {
				fmt.Fprintf(&b, "           %s\n", line)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// meaning tells what a decision means, where its name does not.
func meaning(cluster model.Cluster, d model.Decision) []string {
	var lines []string
	switch d.By.Rule {
	case model.RuleIsolated:
		lines = append(lines, "the policy isolates this end and no rule of any policy accepts the connection")
	case model.RuleDefault:
		lines = append(lines, "no policy says anything about it")
	case model.RuleSelf:
		lines = append(lines, "an endpoint always reaches itself")
	case model.RuleOwnNode:
		lines = append(lines, "a node always reaches the pods that it hosts")
	case model.RuleNobody:
		lines = append(lines, "policies protect pods and external workloads only")
	}
	for _, p := range cluster.Policies {
		if p.Ref == d.By.Policy && p.Message != "" {
			lines = append(lines, "its author says: "+p.Message)
		}
	}
	return lines
}
