package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// interfaceAnnotation names the host's end of a pod's interface, where it cannot
// be found by the pod's address.
const interfaceAnnotation = "palisade.dev/interface"

// local is this host, as apply, flows and uninstall work on it.
type local struct {
	node, stateDir string
	host           host.Host
}

func (l *local) addFlags(flags *pflag.FlagSet) {
	name, _ := os.Hostname() // empty: --node is asked for
	flags.StringVar(&l.node, "node", name, "the name under which the manifests know this host")
	flags.StringVar(&l.stateDir, "state-dir", "/var/lib/palisade", "where the last snapshot is kept")
	flags.StringVar(&l.host.PinDir, "pin-dir", "/sys/fs/bpf/palisade", "where programs and maps are pinned, in a BPF file system")
	l.host.Proc, l.host.Sys = "/proc", "/sys"
}

func (l *local) open(unbound layout.Unbound) func() (nodeagent.Datapath, error) {
	return func() (nodeagent.Datapath, error) {
		return nodeagent.OpenWithRuntime(datapath.Config{PinDir: l.host.PinDir, Layout: layout.Options{Unbound: unbound}},
			runtime.Config{Proc: l.host.Proc}, logr.Discard())
	}
}

type applyOptions struct {
	files         []string
	ignoreUnknown bool
	local         local
	workload      string
	unbound       string
	dryRun        bool
	allowMissing  bool
	allowBypass   bool
}

func newApply(e *env) *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Enforce what manifests say, on this host and without a cluster",
		Long: `Apply compiles manifests for this host and brings the result into force in this
host's kernel, entirely or not at all. No process has to stay: the kernel goes on
enforcing until the next apply or uninstall. Rebooting ends it.

Pods are those that the manifests place on this node (spec.nodeName) with their
addresses (status.podIPs). Each is looked for by its address in the network
namespaces of this host; the annotation ` + interfaceAnnotation + ` names the
host's end of its interface instead.

With --workload this host is an ExternalWorkload of the manifests, and no node: of
ClusterwidePolicies that select it by subject.externalWorkloads the part runtime holds
for this host's own processes, as one about nodes does on a node. What policies say of
its packets is not enforced.

Where some traffic would go around the kernel's hooks, a setting cannot be set for
example, or this kernel judges nothing of a section of runtime rules, or only kills
after the fact what a policy with minimumBackend: Prevent denies, nothing is enforced,
unless --allow-bypass says to go on. What it judges in part is warned of.
A kernel before Linux 6.4 judges no packets: --allow-bypass enforces what policies
say of processes there.

What has expired is left out. What expires later stays in force until the next
apply, as no process watches the clock: a line for each such policy and exception
says when to apply again.

Exit code: 0; 2 for an error, and then everything is as it was, unless the line says
that the policy is in force.`,
		Example: `  # What would change?
  palisade apply -f manifests/ --node n1 --dry-run

  # Enforce it:
  palisade apply -f manifests/ --node n1

  # A machine outside of the cluster:
  palisade apply -f manifests/ --workload legacy/db`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.workload != "" && cmd.Flags().Changed("node") {
				return fmt.Errorf("--node %q and --workload %q: this host is one of them: remove the other", o.local.node, o.workload)
			}
			return o.run(cmd.Context(), e)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.files, "filename", "f", nil, "directory of manifests, one file, or - for standard input; may be repeated")
	flags.BoolVar(&o.ignoreUnknown, "ignore-unknown-kinds", false, "leave out objects of kinds that policy does not read, instead of refusing them")
	flags.BoolVar(&o.dryRun, "dry-run", false, "say what would change, and change nothing")
	flags.BoolVar(&o.allowMissing, "allow-missing", false, "go on where pods of this node are nowhere on this host; their senders are not checked")
	flags.BoolVar(&o.allowBypass, "allow-bypass", false, "go on where some traffic goes around the hooks, or a section of runtime rules is not judged, with a warning")
	flags.StringVar(&o.unbound, "unbound-address", "auto", "addresses of the node's pod ranges that no pod has: auto, deny or allow")
	o.local.addFlags(flags)
	flags.StringVar(&o.workload, "workload", "", "the ExternalWorkload NAMESPACE/NAME that this host is, instead of a node")
	return cmd
}

func (o *applyOptions) run(ctx context.Context, e *env) error {
	if len(o.files) == 0 {
		return errors.New("-f: name a directory of manifests")
	}
	var unbound layout.Unbound
	if err := unbound.UnmarshalText([]byte(o.unbound)); err != nil {
		return fmt.Errorf("--unbound-address %q: write auto, deny or allow", o.unbound)
	}
	objects, err := manifests.Read(ctx, o.files, manifests.Options{IgnoreUnknownKinds: o.ignoreUnknown, Stdin: e.stdin})
	if err != nil {
		return err
	}
	set, prevent, err := o.compile(objects, e)
	if err != nil {
		return err
	}
	host := o.local.host
	host.WithoutPackets = o.allowBypass
	s := &nodeagent.Standalone{
		Node: o.local.node, StateDir: o.local.stateDir, Host: host, Open: o.local.open(unbound),
		Looker:       facts.Finder{Proc: "/proc", Named: []string{"/run/netns"}, ByAddress: true},
		Interfaces:   interfaces(objects),
		AllowMissing: o.allowMissing, AllowBypass: o.allowBypass,
		MustPrevent: prevent,
	}
	plan, err := s.Plan(set)
	if err != nil {
		return err
	}
	if o.dryRun {
		o.describe(e, plan, "would become")
		warnOfExpiry(e, objects)
		return nil
	}
	if plan.Becomes, err = plan.Apply(ctx); err != nil && !errors.Is(err, nodeagent.ErrInForce) {
		if errors.Is(err, nodeagent.ErrHost) {
			err = fmt.Errorf("%w (or go on with --allow-bypass)", err)
		}
		return err
	}
	o.describe(e, plan, "is now")
	warnOfExpiry(e, objects)
	return err
}

// warnOfExpiry says what the kernel will go on to enforce after its end.
func warnOfExpiry(e *env, objects *manifests.Objects) {
	for _, x := range objects.Expiries(e.now()) {
		fmt.Fprintf(e.stderr, "palisade: warning: %s, and holds until you apply again after that\n", x)
	}
}

// compile gives the whole snapshot of this host, and the policies that demand prevention.
func (o *applyOptions) compile(objects *manifests.Objects, e *env) (*snapshot.Set, map[string]bool, error) {
	world, err := objects.World(e.now())
	if err != nil {
		return nil, nil, err
	}
	if o.workload != "" {
		host, err := world.AsHost(o.workload)
		if err != nil {
			return nil, nil, fmt.Errorf("--workload %w", err)
		}
		o.local.node = string(host.Node)
	}
	c, err := compileNodes(world, e.stderr)
	if err != nil {
		return nil, nil, err
	}
	own, ok := c.nodes[model.NodeName(o.local.node)]
	if !ok || o.local.node == "" {
		var names []string
		for _, n := range c.names() {
			if n != "" {
				names = append(names, string(n))
			}
		}
		return nil, nil, fmt.Errorf("node %q is not in the manifests (there are: %s): name this host with --node", o.local.node, strings.Join(names, ", "))
	}
	prevent := map[string]bool{}
	for i := range world.Cluster.Policies {
		if p := &world.Cluster.Policies[i]; p.Runtime != nil && p.Runtime.Prevent {
			prevent[p.Ref.String()] = true
		}
	}
	return snapshot.Union(own, c.common), prevent, nil
}

// interfaces reads the annotation of pods.
func interfaces(objects *manifests.Objects) map[facts.PodUID]string {
	out := map[facts.PodUID]string{}
	for i := range objects.Pods {
		p := &objects.Pods[i]
		if name, ok := p.Annotations[interfaceAnnotation]; ok {
			uid := facts.PodUID(p.UID)
			if uid == "" {
				uid = facts.PodUID(p.Namespace + "/" + p.Name) // as the compiler does
			}
			out[uid] = name
		}
	}
	return out
}

// describe prints what changes: policies by name, the rest as counts.
func (o *applyOptions) describe(e *env, p *nodeagent.Plan, word string) {
	out, host := e.stdout, "node "+p.Becomes.Node
	if o.workload != "" {
		host = "external workload " + o.workload
	}
	if p.Delta.Empty() {
		fmt.Fprintf(out, "%s: the same rows as before (digest %.12s)\n", host, p.Becomes.Digest)
	} else {
		fmt.Fprintf(out, "%s %s generation %s (digest %.12s): %d rows added or changed, %d removed\n",
			host, word, p.Becomes.Generation, p.Becomes.Digest, len(p.Delta.Upserts), len(p.Delta.Deletes))
	}
	for _, line := range policiesIn(p.Delta) {
		fmt.Fprintln(out, "  policy", line)
	}
	for _, a := range p.Pods {
		fmt.Fprintf(out, "  pod %s behind %s\n", a.Pod, a.Host.Name)
	}
	for _, m := range p.Missing {
		fmt.Fprintf(e.stderr, "palisade: warning: pod %s: %s\n", m.Pod, m.Reason)
	}
	if !o.dryRun {
		for _, f := range p.Findings {
			fmt.Fprintf(e.stderr, "palisade: warning: %s\n", f)
		}
	}
}

// policiesIn lists the policies whose rules a delta brings.
func policiesIn(d snapshot.Delta) []string {
	names := map[string]bool{}
	for _, u := range d.Upserts {
		if u.Table != snapshot.TableRule {
			continue
		}
		if row, err := snapshot.Decode(u); err == nil {
			if r := row.(snapshot.RuleRow); r.PolicyKind != uint8(model.KindBuiltin) {
				names[flows.DecisionOf(r).Policy] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
