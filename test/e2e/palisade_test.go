package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
)

const system = "palisade-system"

// running lists the Ready pods of a part of Palisade by name, with their nodes.
func running(part string) (map[string]string, error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Name              string
				DeletionTimestamp *string
			}
			Spec   struct{ NodeName string }
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := read(&list, "get", "pods", "-n", system, "-l", "app.kubernetes.io/name="+part, "-o", "json"); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, p := range list.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" && p.Metadata.DeletionTimestamp == nil {
				out[p.Metadata.Name] = p.Spec.NodeName
			}
		}
	}
	return out, nil
}

const (
	agentPart      = "palisade-nodeagent"
	controllerPart = "palisade-controller"
)

func decode(text string, into any) error {
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("%w: %.200s", err, text)
	}
	return nil
}

// read decodes what kubectl prints.
func read(into any, args ...string) error {
	text, err := kubectl("", args...)
	if err != nil {
		return err
	}
	return decode(text, into)
}

// flow is what the tests read of a record of palisade flows.
type flow struct {
	Verdict, Direction, Tier, Policy, Rule, Protocol string
	From, To                                         struct {
		Kind, Namespace, Name, Addr string
		Port                        int
	}
}

func (f flow) String() string {
	return fmt.Sprintf("%s %s/%s (%s) to %s/%s (%s) %s %d: %s %s %s %s", f.Verdict, f.From.Namespace, f.From.Name, f.From.Addr,
		f.To.Namespace, f.To.Name, f.To.Addr, f.Protocol, f.To.Port, f.Direction, f.Tier, f.Policy, f.Rule)
}

// flows reads the records about a namespace from all agents, as a user would.
func flows(ns string) (out []flow, err error) {
	agents, err := running(agentPart)
	if err != nil {
		return nil, err
	}
	for agent := range agents {
		text, err := kubectl("", "exec", "-n", system, agent, "-c", "nodeagent", "--", "/palisade", "flows", "-o", "json", "--namespace", ns)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			var f flow
			if err := decode(line, &f); err != nil {
				return nil, err
			}
			if f.Verdict != "" { // else a count of losses
				out = append(out, f)
			}
		}
	}
	return out, nil
}

// policyStatus is the status of a policy of ours.
func policyStatus(ns, name string) (v1alpha1.PolicyStatus, error) {
	var object struct{ Status v1alpha1.PolicyStatus }
	args := []string{"get", name, "-o", "json"}
	if ns != "" {
		args = append(args, "-n", ns)
	}
	err := read(&object, args...)
	return object.Status, err
}

// expectCondition waits for a condition, and returns it.
func expectCondition(t *testing.T, ns, name, kind string, status metav1.ConditionStatus, reason string) (found metav1.Condition) {
	t.Helper()
	pace.Until(t, name+" "+kind, func() error {
		s, err := policyStatus(ns, name)
		if err != nil {
			return err
		}
		for _, c := range s.Conditions {
			if c.Type == kind && c.Status == status && c.Reason == reason {
				found = c
				return nil
			}
		}
		return fmt.Errorf("want %s %s: have %+v", status, reason, s.Conditions)
	})
	return found
}

// snapshots is what a controller's /snapshots says.
type snapshots struct {
	Leader  bool
	Counter uint64
	Nodes   map[string]string
}

func proxied(podName string, port int, path string) (string, error) {
	return kubectl("", "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%d/proxy/%s", system, podName, port, path))
}

// published is what every controller says, the leader first.
func published() (out []snapshots, err error) {
	controllers, err := running(controllerPart)
	if err != nil {
		return nil, err
	}
	for name := range controllers {
		text, err := proxied(name, 8080, "snapshots")
		if err != nil {
			return nil, err
		}
		var s snapshots
		if err := decode(text, &s); err != nil {
			return nil, err
		}
		if s.Leader {
			out = append([]snapshots{s}, out...)
		} else {
			out = append(out, s)
		}
	}
	return out, nil
}

// metric adds up a metric over its labels.
func metric(text, name string) (sum float64, err error) {
	found := false
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || key != name && !strings.HasPrefix(key, name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", line, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("no metric %s", name)
	}
	return sum, nil
}
