package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/propose"
)

type proposeOptions struct {
	files      []string
	pod        string
	containers []string
	subject    string
	name       string
	sections   []string
	merge      string
	learn      bool
	manifests  []string
}

func newPropose(e *env) *cobra.Command {
	var o proposeOptions
	cmd := &cobra.Command{
		Use:   "propose",
		Short: "Make a RuntimePolicy out of what a workload was seen to do",
		Long: `Propose reads recorded events of a workload and prints the smallest RuntimePolicy
that would have allowed them, as YAML: paths where a few files of a directory were
used, the directory where many were. Comments on top say how much was seen, what
was seen only once, and what was left out. The policy is in mode Audit: apply it,
record again, and run propose again with --merge before you enforce it.

--merge adds what the policy of that file would deny of the recording, and nothing
else. Rules that propose made grow; those that you renamed, explained or narrowed
stay as they are. Names of one directory count together, in whichever recording
they were seen.

What a Deny or Kill rule stopped, or would stop if Audit were enforced, is not
proposed; what an isolation stopped is.

An agent reports what policies would judge otherwise, of the pods of its own node.
--learn prints the policy to begin with: it observes, and lets everything be
reported.`,
		Example: `  # 1. Let everything that the workload does be reported, and record it, on every node
  palisade propose --learn --pod 'shop/db-*' --subject app=db | kubectl apply -f -
  palisade events --cluster --follow -o json > events.jsonl

  # 2. After a day, the first proposal, in Audit
  palisade propose --events events.jsonl --pod 'shop/db-*' --subject app=db > db.yaml

  # 3. What it missed, added
  palisade propose --events later.jsonl --pod 'shop/db-*' --merge db.yaml > db2.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.merge != "" && !cmd.Flags().Changed("sections") {
				o.sections = nil
			}
			return o.run(cmd.Context(), e)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.files, "events", nil, "recorded events (palisade events -o json); - is standard input; may be repeated")
	f.StringVar(&o.pod, "pod", "", "whose events: NAMESPACE/NAME, where * in NAME stands for any text")
	f.StringSliceVar(&o.containers, "container", nil, "only of these containers; the policy is about them only")
	f.StringVar(&o.subject, "subject", "", "labels that select the workload's pods, as KEY=VALUE,…; none: every pod of the namespace")
	f.StringVar(&o.name, "name", "", "the policy's name (default: learned from --pod)")
	f.StringSliceVar(&o.sections, "sections", []string{"executables", "privileges", "network"}, "which sections to propose: executables, files, privileges, network (with --merge: those of the policy)")
	f.StringVar(&o.merge, "merge", "", "a file with the RuntimePolicy to add to")
	f.StringArrayVarP(&o.manifests, "filename", "f", nil, "manifests of the pods and namespaces that rules of the --merge policy name by labels; may be repeated")
	f.BoolVar(&o.learn, "learn", false, "print the policy that lets everything be reported")
	return cmd
}

func (o *proposeOptions) run(ctx context.Context, e *env) error {
	namespace, pattern, ok := strings.Cut(o.pod, "/")
	if !ok || namespace == "" || pattern == "" {
		return fmt.Errorf("--pod %q: write NAMESPACE/NAME; NAME may have a *", o.pod)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return fmt.Errorf("--pod %q: %w", o.pod, err)
	}
	policy, err := o.policy(namespace, pattern)
	if err != nil {
		return err
	}
	want, err := o.wanted(policy)
	if err != nil {
		return err
	}
	if o.learn {
		learn(&policy.Spec.RuntimeRules, want)
		return printPolicy(e, policy, []string{"observes everything that the workload does, and enforces nothing"})
	}
	if len(o.files) == 0 {
		return errors.New("--events: name a file of recorded events, or - for standard input")
	}
	r := recording{namespace: namespace, pod: pattern, containers: o.containers}
	if len(r.containers) == 0 {
		for _, c := range policy.Spec.Subject.Containers {
			r.containers = append(r.containers, string(c))
		}
	}
	if o.merge != "" {
		if r.sieve, err = o.sieve(ctx, e, policy); err != nil {
			return err
		}
	}
	if err := readRecorded(ctx, e, o.files, r.line); err != nil {
		return err
	}
	if len(r.seen) == 0 {
		return fmt.Errorf("--pod %q: none of %d events is of these pods and of an operation that is proposed", o.pod, r.events)
	}
	p := propose.Refine(&policy.Spec.RuntimeRules, r.seen, want)
	return printPolicy(e, policy, append(p.Notes, r.notes()...))
}

// wanted are the sections to propose; where nothing says which, those of the policy.
func (o *proposeOptions) wanted(policy *v1alpha1.RuntimePolicy) (propose.Sections, error) {
	if o.merge == "" || len(o.sections) > 0 {
		return sectionsOf(o.sections)
	}
	r := &policy.Spec.RuntimeRules
	return propose.Sections{Executables: r.Executables != nil, Files: r.Files != nil, Privileges: r.Privileges != nil, Network: r.Network != nil}, nil
}

func sectionsOf(names []string) (propose.Sections, error) {
	var s propose.Sections
	known := map[string]*bool{"executables": &s.Executables, "files": &s.Files, "privileges": &s.Privileges, "network": &s.Network}
	for _, n := range names {
		if known[n] == nil {
			return s, fmt.Errorf("--sections %q: write executables, files, privileges, network", n)
		}
		*known[n] = true
	}
	if s == (propose.Sections{}) {
		return s, errors.New("--sections: name one at least")
	}
	return s, nil
}

// policy is the one to add to, or a new one.
func (o *proposeOptions) policy(namespace, pattern string) (*v1alpha1.RuntimePolicy, error) {
	policy := &v1alpha1.RuntimePolicy{}
	if o.merge != "" {
		b, err := os.ReadFile(o.merge)
		if err != nil {
			return nil, fmt.Errorf("--merge: %w", err)
		}
		if err := yaml.UnmarshalStrict(b, policy); err != nil {
			return nil, fmt.Errorf("--merge %s: %w", o.merge, err)
		}
		if policy.Kind != "RuntimePolicy" || policy.Namespace != namespace {
			return nil, fmt.Errorf("--merge %s: it holds %s %s/%s, not a RuntimePolicy of namespace %s", o.merge, policy.Kind, policy.Namespace, policy.Name, namespace)
		}
		for _, c := range o.containers {
			if have := policy.Spec.Subject.Containers; len(have) > 0 && !slices.Contains(have, v1alpha1.ContainerName(c)) {
				return nil, fmt.Errorf("--container %q: the policy of --merge %s is about others: %v", c, o.merge, have)
			}
		}
		return policy, nil
	}
	policy.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "RuntimePolicy"}
	policy.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: o.name}
	if o.name == "" {
		policy.Name = strings.Trim(strings.ReplaceAll(pattern, "*", ""), "-.")
	}
	if policy.Name == "" {
		return nil, errors.New("--name: the policy needs one")
	}
	policy.Spec.Mode = v1alpha1.ModeAudit
	selected, err := labels.ConvertSelectorToLabelsMap(o.subject)
	if err != nil {
		return nil, fmt.Errorf("--subject %q: %w", o.subject, err)
	}
	for key, value := range selected {
		if policy.Spec.Subject.Pods.MatchLabels == nil {
			policy.Spec.Subject.Pods.MatchLabels = map[string]v1alpha1.LabelValue{}
		}
		policy.Spec.Subject.Pods.MatchLabels[key] = v1alpha1.LabelValue(value)
	}
	for _, c := range o.containers {
		policy.Spec.Subject.Containers = append(policy.Spec.Subject.Containers, v1alpha1.ContainerName(c))
	}
	return policy, nil
}

// learn makes every section deny by default: in Audit, that reports everything.
func learn(rules *v1alpha1.RuntimeRules, want propose.Sections) {
	if want.Executables {
		rules.Executables = &v1alpha1.ExecutableSection{Default: v1alpha1.ActionDeny}
	}
	if want.Files {
		rules.Files = &v1alpha1.FileSection{Default: v1alpha1.ActionDeny}
	}
	if want.Privileges {
		rules.Privileges = &v1alpha1.PrivilegeSection{Default: v1alpha1.ActionDeny}
	}
	if want.Network {
		rules.Network = &v1alpha1.SocketSection{Default: v1alpha1.ActionDeny}
	}
}

// printPolicy leaves out what only the API server fills in.
func printPolicy(e *env, policy *v1alpha1.RuntimePolicy, notes []string) error {
	b, err := json.Marshal(policy)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	delete(fields, "status")
	if m, ok := fields["metadata"].(map[string]any); ok {
		delete(m, "creationTimestamp")
	}
	text, err := yaml.Marshal(fields)
	if err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintf(e.stdout, "# %s\n", n)
	}
	_, err = e.stdout.Write(text)
	return err
}
