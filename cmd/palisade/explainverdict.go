package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/model"
)

// processJSON is one element of the list that explain prints about a process. Its
// fields only grow: scripts depend on them.
type processJSON struct {
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	Node      string `json:"node,omitempty"`     // instead of a pod
	Workload  string `json:"workload,omitempty"` // instead of a pod
	Process   string `json:"process,omitempty"`
	Operation string `json:"operation"`
	Object    string `json:"object,omitempty"`
	directionJSON
	// WhereLinked is there if a path has another name in images where directories
	// such as /bin are links, and the verdict about that is another.
	WhereLinked *linkedJSON `json:"whereLinked,omitempty"`

	judgement model.Judgement
}

type linkedJSON struct {
	Process string `json:"process,omitempty"`
	Object  string `json:"object,omitempty"`
	directionJSON
}

// runProcess answers about an operation of a process.
func (o *explainOptions) runProcess(ctx context.Context, e *env, flags *pflag.FlagSet) error {
	questions, err := o.process.questions(flags, o.from, o.to)
	if err != nil {
		return err
	}
	given := slices.DeleteFunc([]string{o.process.pod, o.process.node, o.process.workload}, func(s string) bool { return s == "" })
	if len(given) != 1 {
		return fmt.Errorf("explain: say whose process it is, by --pod NAMESPACE/POD, --node NAME or --workload NAMESPACE/NAME")
	}
	world, err := o.source.world(ctx, e)
	if err != nil {
		return err
	}
	who, containers, err := o.process.who(world)
	if err != nil {
		return err
	}
	ask, err := o.judge.makeRuntime(world, e.stderr)
	if err != nil {
		return err
	}
	var rows []processJSON
	denied := false
	for _, container := range containers {
		for _, q := range questions {
			other, linked := q.whereLinked()
			asked := q.asked()
			answers, err := ask(who, container, slices.Concat(asked, other.asked()))
			if err != nil {
				return err
			}
			judged, elsewhere := strictest(answers[:len(asked)]), strictest(answers[len(asked):])
			row := processJSON{Process: q.op.Executable, Operation: q.operation, Object: q.object, Container: container, judgement: judged}
			row.directionJSON = directionOf(judged)
			switch who.ID.Kind {
			case model.EndpointNode:
				row.Node = who.ID.Name
			case model.EndpointExternal:
				row.Workload = who.ID.String()
			default:
				row.Pod = who.ID.String()
			}
			if linked && elsewhere != judged {
				row.WhereLinked = &linkedJSON{other.op.Executable, other.object, directionOf(elsewhere)}
			}
			denied = denied || judged.Enforced.Verdict != model.Allow
			rows = append(rows, row)
		}
	}
	if o.output == "json" {
		err = printList(e.stdout, rows)
	} else {
		err = printVerdicts(e.stdout, world.Cluster, rows)
	}
	if err == nil && denied {
		return errDeny
	}
	return err
}

// who finds who acts, and in which containers.
func (o *processOptions) who(world *manifests.World) (model.Endpoint, []string, error) {
	if o.workload != "" {
		host, err := world.AsHost(o.workload)
		if err != nil {
			return host, nil, fmt.Errorf("--workload %w", err)
		}
		containers, err := o.containers(nil)
		return host, containers, err
	}
	id, what := model.EndpointID{Kind: model.EndpointNode, Name: o.node}, "node"
	if o.pod != "" {
		namespace, name, ok := strings.Cut(o.pod, "/")
		if !ok || namespace == "" || name == "" {
			return model.Endpoint{}, nil, fmt.Errorf("--pod %q: write NAMESPACE/POD", o.pod)
		}
		id, what = model.EndpointID{Kind: model.EndpointPod, Namespace: namespace, Name: name}, "pod"
	}
	i := slices.IndexFunc(world.Cluster.Endpoints, func(e model.Endpoint) bool { return e.ID == id })
	if i < 0 {
		return model.Endpoint{}, nil, fmt.Errorf("--%s %q: no such %s", what, id, what)
	}
	containers, err := o.containers(world.Containers[o.pod])
	return world.Cluster.Endpoints[i], containers, err
}

func (o *processOptions) containers(have []string) ([]string, error) {
	switch {
	case o.pod == "" && o.container != "":
		return nil, fmt.Errorf("--container %q: processes of a host are in no container", o.container)
	case o.pod == "":
		return []string{""}, nil
	case o.container == "" && len(have) == 0:
		return nil, fmt.Errorf("--pod %q: its manifest has no containers: name one by --container", o.pod)
	case o.container == "":
		return have, nil
	case o.container != model.PauseContainer && len(have) > 0 && !slices.Contains(have, o.container):
		return nil, fmt.Errorf("--container %q: pod %s has no such container: it has %s", o.container, o.pod, strings.Join(have, ", "))
	}
	return []string{o.container}, nil
}

// printVerdicts tells answers to a person.
func printVerdicts(w io.Writer, cluster model.Cluster, rows []processJSON) error {
	var b strings.Builder
	for _, r := range rows {
		who := "node:" + r.Node
		switch {
		case r.Pod != "":
			who = r.Pod + "/" + r.Container
		case r.Workload != "":
			who = "ew:" + r.Workload
		}
		fmt.Fprintf(&b, "%s%s: %s\n", who, act(r.Process, r.Operation, r.Object), r.Verdict)
		fmt.Fprintf(&b, "  %s\n", r.directionJSON)
		for _, line := range meaningOfRule(cluster, r.judgement.Enforced) {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		if l := r.WhereLinked; l != nil {
			fmt.Fprintf(&b, "  in images where directories such as /bin are links the kernel asks about%s: %s\n",
				act(l.Process, r.Operation, l.Object), l.directionJSON)
			fmt.Fprint(&b, "    rules hold for the path to which links lead: write both names\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// act is an operation in words, with the space before them.
func act(process, operation, object string) string {
	text := " " + operation
	if process != "" {
		text = " (" + process + ")" + text
	}
	if object != "" {
		text += " " + object
	}
	return text
}

// meaningOfRule tells what a decision about an operation means, where its name
// does not.
func meaningOfRule(cluster model.Cluster, d model.Decision) []string {
	section, name, _ := strings.Cut(d.By.Rule, "/")
	switch {
	case d.By.Rule == model.RuleDefault:
		return []string{"no policy says anything about it"}
	case d.By.Rule == model.RuleUnresolvable:
		return []string{fmt.Sprintf("outside of the container, or by more than %d bytes, there is no path to compare, and something of this section is denied", longestPath)}
	}
	var lines []string
	if name == model.RuleIsolated {
		lines = append(lines, "the section's default is Deny, and no rule of any policy accepts the operation")
	}
	for _, p := range cluster.Policies {
		if p.Ref != d.By.Policy || p.Runtime == nil {
			continue
		}
		message := p.Message
		for s := range model.Section(model.Sections) {
			for _, r := range p.Runtime.Sections[s].Rules {
				if s.String() == section && r.Name == name {
					message = cmp.Or(r.Message, message)
				}
			}
		}
		if message != "" {
			lines = append(lines, "its author says: "+message)
		}
	}
	return lines
}
