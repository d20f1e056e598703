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
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/policy/propose"
	"palisade.dev/palisade/policy/translate"
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
}

func newPropose(e *env) *cobra.Command {
	var o proposeOptions
	cmd := &cobra.Command{
		Use:   "propose",
		Short: "Make a RuntimePolicy out of what a workload was seen to do",
		Long: `Propose reads recorded events of a workload and prints the smallest RuntimePolicy
that would have allowed them, as YAML: paths where a few files of a directory were
used, the directory where many were. Comments on top say how much was seen, and
what was seen only once. The policy is in mode Audit: apply it, record again, and
run propose again with --merge to add what it missed, before you enforce it.

What a Deny or Kill rule stopped is not proposed; what an isolation stopped is.

An agent reports what policies would judge otherwise. --learn prints the policy to
begin with: it observes, and lets everything be reported.`,
		Example: `  # 1. Let everything that the workload does be reported, and record it
  palisade propose --learn --pod 'shop/db-*' --subject app=db | kubectl apply -f -
  kubectl -n palisade-system exec ds/palisade-nodeagent -- /palisade events --follow -o json > events.jsonl

  # 2. The first proposal, in Audit
  palisade propose --events events.jsonl --pod 'shop/db-*' --subject app=db > db.yaml

  # 3. What it missed, added
  palisade propose --events later.jsonl --pod 'shop/db-*' --merge db.yaml > db2.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.files, "events", nil, "recorded events (palisade events -o json); - is standard input; may be repeated")
	f.StringVar(&o.pod, "pod", "", "whose events: NAMESPACE/NAME, where * in NAME stands for any text")
	f.StringSliceVar(&o.containers, "container", nil, "only of these containers; the policy is about them only")
	f.StringVar(&o.subject, "subject", "", "labels that select the workload's pods, as KEY=VALUE,…; none: every pod of the namespace")
	f.StringVar(&o.name, "name", "", "the policy's name (default: learned from --pod)")
	f.StringSliceVar(&o.sections, "sections", []string{"executables", "privileges", "network"}, "which sections to propose: executables, files, privileges, network")
	f.StringVar(&o.merge, "merge", "", "a file with the RuntimePolicy to add to")
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
	want, err := sectionsOf(o.sections)
	if err != nil {
		return err
	}
	policy, err := o.policy(namespace, pattern)
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
	if err := readRecorded(ctx, e, o.files, r.line); err != nil {
		return err
	}
	if len(r.seen) == 0 {
		return fmt.Errorf("--pod %q: none of %d events is of these pods and of an operation that is proposed", o.pod, r.events)
	}
	p := propose.Propose(r.seen, want)
	propose.Merge(&policy.Spec.RuntimeRules, p.Rules)
	return printPolicy(e, policy, append(p.Notes, r.notes()...))
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

// recording is what is taken from the events of a workload.
type recording struct {
	namespace, pod string
	containers     []string

	seen    []propose.Observation
	events  int
	lost    uint64
	refused map[string]int // by the rule that denied
	strange map[string]int // by an operation that no rule can name
}

func (r *recording) line(line []byte) error {
	return events.Read(line, func(e events.Event) error {
		r.events++
		r.take(e)
		return nil
	}, func(l flows.Losses) error {
		r.lost += l.Lost
		return nil
	})
}

func (r *recording) take(e events.Event) {
	if e.Pod == nil || e.Pod.Namespace != r.namespace {
		return
	}
	if ok, err := path.Match(r.pod, e.Pod.Name); err != nil || !ok {
		return
	}
	if len(r.containers) > 0 && (e.Container == nil || !slices.Contains(r.containers, e.Container.Name)) {
		return
	}
	if e.Verdict != flows.Allow && !strings.HasSuffix(e.Rule, "(isolated)") {
		if r.refused == nil {
			r.refused = map[string]int{}
		}
		r.refused[e.Policy+" "+e.Rule]++
		return
	}
	for _, o := range observationsOf(e) {
		if name := strangeIn(o); name != "" {
			if r.strange == nil {
				r.strange = map[string]int{}
			}
			r.strange[name]++
			continue
		}
		r.seen = append(r.seen, o)
	}
}

// strangeIn names the operation of an observation that the API does not know: a rule
// that named it would be refused.
func strangeIn(o propose.Observation) string {
	for _, op := range o.Operations {
		if _, ok := translate.FileOperations[op]; !ok {
			return string(op)
		}
	}
	if _, ok := translate.PrivilegeOperations[o.Privilege]; !ok && o.Privilege != "" {
		return string(o.Privilege)
	}
	if _, ok := translate.SocketOperations[o.Socket]; !ok && o.Socket != "" {
		return string(o.Socket)
	}
	if o.Capability != "" && !slices.Contains(v1alpha1.Capabilities, o.Capability) {
		return "capability " + string(o.Capability)
	}
	return ""
}

func observationsOf(e events.Event) []propose.Observation {
	o := propose.Observation{Pod: e.Pod.Namespace + "/" + e.Pod.Name}
	switch {
	case e.Exec != nil:
		o.Executable, o.Origin, o.Mapping = e.Exec.Path, v1alpha1.Origin(e.Exec.Origin), e.Exec.Mapping
	case e.File != nil:
		o.File, o.Origin = e.File.Path, v1alpha1.Origin(e.File.Origin)
		for _, op := range e.File.Operations {
			o.Operations = append(o.Operations, v1alpha1.FileOperation(op))
		}
		if e.File.Target != "" {
			target := o
			target.File, target.Operations = e.File.Target, []v1alpha1.FileOperation{v1alpha1.FileCreate}
			return []propose.Observation{o, target}
		}
	case e.Privilege != nil:
		return privilegesOf(o, e.Privilege)
	case e.Network != nil:
		var out []propose.Observation
		o.Protocol, o.Address, o.Port = e.Network.Protocol, e.Network.Address, e.Network.Port
		for _, op := range e.Network.Operations() {
			o.Socket = v1alpha1.SocketOperation(op)
			out = append(out, o)
		}
		return out
	default:
		return nil
	}
	return []propose.Observation{o}
}

// privilegesOf are the privileges of one event; the capability is of that operation alone.
func privilegesOf(o propose.Observation, p *events.Privilege) []propose.Observation {
	var out []propose.Observation
	for _, op := range p.Operations() {
		o.Privilege, o.Capability = v1alpha1.PrivilegeOperation(op), ""
		if o.Privilege == v1alpha1.PrivilegeCapability {
			o.Capability = v1alpha1.Capability(p.Capability)
		}
		out = append(out, o)
	}
	return out
}

// notes say what the recording lacks.
func (r *recording) notes() []string {
	var out []string
	if r.lost > 0 {
		out = append(out, fmt.Sprintf("%d events were lost while recording: something may be missing", r.lost))
	}
	for rule, n := range r.refused {
		out = append(out, fmt.Sprintf("left out: %d operations that %s denied", n, rule))
	}
	for name, n := range r.strange {
		out = append(out, fmt.Sprintf("left out: %d times %s, which no rule can name", n, name))
	}
	slices.Sort(out)
	return out
}
