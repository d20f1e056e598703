package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
)

type statusOptions struct {
	live   live
	output string
}

func newStatus(e *env) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show where each policy is in force",
		Long: `Status shows, for every policy of a live cluster, whether it is accepted,
programmed and ready, and how many of the nodes that need it enforce it. Policies
of networking.k8s.io have no status and are not listed. An ExternalWorkload or an
AddressGroup is listed only where it is not ready: nodes do not enforce what it says.`,
		Example: `  # Where is what in force?
  palisade status

  # Policies that are not ready, for scripts:
  palisade status -o json | jq '.[] | select(.ready != "True")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	o.live.addFlags(cmd.Flags())
	cmd.Flags().StringVarP(&o.output, "output", "o", "table", "table or json")
	return cmd
}

// statusJSON is one element of the list that status prints. Its fields only grow.
type statusJSON struct {
	Policy     string                 `json:"policy"`
	Accepted   metav1.ConditionStatus `json:"accepted"`
	Programmed metav1.ConditionStatus `json:"programmed"`
	Ready      metav1.ConditionStatus `json:"ready"`
	Reason     string                 `json:"reason"`
	Message    string                 `json:"message"`
	Nodes      v1alpha1.NodeCounts    `json:"nodes"`
	Endpoints  int32                  `json:"endpoints"`
	Failures   []v1alpha1.NodeFailure `json:"failures,omitempty"`
}

func (o *statusOptions) run(ctx context.Context, e *env) error {
	if err := checkFormat(o.output, "table", "json"); err != nil {
		return err
	}
	c, err := o.live.client()
	if err != nil {
		return err
	}
	rows, err := statuses(ctx, c)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printList(e.stdout, rows)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(e.stdout, "There are no policies.")
		return err
	}
	t := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "POLICY\tACCEPTED\tPROGRAMMED\tREADY\tREASON\tNODES\tENDPOINTS\tMESSAGE")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d/%d\t%d\t%s\n", r.Policy, r.Accepted, r.Programmed, r.Ready, r.Reason,
			r.Nodes.Realized, r.Nodes.Desired, r.Endpoints, r.Message)
	}
	return t.Flush()
}

// statuses are those of all policies of a cluster, and of what they refer to that is not
// ready, by name.
func statuses(ctx context.Context, c client.Client) ([]statusJSON, error) {
	var policies v1alpha1.NetworkPolicyList
	if err := c.List(ctx, &policies); err != nil {
		return nil, listError("NetworkPolicies of "+v1alpha1.GroupName, err)
	}
	var wide v1alpha1.ClusterwidePolicyList
	if err := c.List(ctx, &wide); err != nil {
		return nil, listError("ClusterwidePolicies", err)
	}
	var runtime v1alpha1.RuntimePolicyList
	if err := c.List(ctx, &runtime); err != nil {
		return nil, listError("RuntimePolicies", err)
	}
	var rows []statusJSON
	for _, p := range wide.Items {
		rows = append(rows, statusOf(v1alpha1.ShortClusterwidePolicy+"/"+p.Name, p.Generation, p.Status))
	}
	for _, p := range policies.Items {
		rows = append(rows, statusOf(v1alpha1.ShortNetworkPolicy+"/"+p.Namespace+"/"+p.Name, p.Generation, p.Status))
	}
	for _, p := range runtime.Items {
		rows = append(rows, statusOf(v1alpha1.ShortRuntimePolicy+"/"+p.Namespace+"/"+p.Name, p.Generation, p.Status))
	}
	peers, err := peersNotReady(ctx, c)
	if err != nil {
		return nil, err
	}
	rows = append(rows, peers...)
	slices.SortFunc(rows, func(a, b statusJSON) int { return cmp.Compare(a.Policy, b.Policy) })
	return rows, nil
}

// peersNotReady are the objects that policies refer to and that nodes know nothing of.
func peersNotReady(ctx context.Context, c client.Client) ([]statusJSON, error) {
	var workloads v1alpha1.ExternalWorkloadList
	if err := c.List(ctx, &workloads); err != nil {
		return nil, listError("ExternalWorkloads", err)
	}
	var groups v1alpha1.AddressGroupList
	if err := c.List(ctx, &groups); err != nil {
		return nil, listError("AddressGroups", err)
	}
	var rows []statusJSON
	add := func(name string, generation int64, s v1alpha1.PeerStatus) {
		row := statusOf(name, generation, v1alpha1.PolicyStatus{ObservedGeneration: s.ObservedGeneration, Conditions: s.Conditions})
		if row.Ready == metav1.ConditionTrue {
			return
		}
		// An object without nodes of its own is programmed where it is ready.
		row.Programmed = row.Ready
		rows = append(rows, row)
	}
	for _, w := range workloads.Items {
		add(v1alpha1.ShortExternalWorkload+"/"+w.Namespace+"/"+w.Name, w.Generation, w.Status)
	}
	for _, g := range groups.Items {
		add(v1alpha1.ShortAddressGroup+"/"+g.Name, g.Generation, g.Status)
	}
	return rows, nil
}

// statusOf reads a policy's status. Conditions that speak of an earlier spec
// than the current one say nothing of this one.
func statusOf(name string, generation int64, s v1alpha1.PolicyStatus) statusJSON {
	out := statusJSON{Policy: name, Nodes: s.Nodes, Endpoints: s.Endpoints, Failures: s.Failures}
	if s.ObservedGeneration != generation {
		out.Accepted, out.Programmed, out.Ready = metav1.ConditionUnknown, metav1.ConditionUnknown, metav1.ConditionUnknown
		out.Reason, out.Message = v1alpha1.ReasonPending, "the controller has not seen the current spec"
		return out
	}
	read := func(condition string) metav1.ConditionStatus {
		if c := meta.FindStatusCondition(s.Conditions, condition); c != nil {
			return c.Status
		}
		return metav1.ConditionUnknown
	}
	out.Accepted = read(v1alpha1.ConditionAccepted)
	out.Programmed = read(v1alpha1.ConditionProgrammed)
	out.Ready = read(v1alpha1.ConditionReady)
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady); c != nil {
		out.Reason, out.Message = c.Reason, c.Message
	}
	return out
}
