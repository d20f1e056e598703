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
func running(t *testing.T, part string) map[string]string {
	t.Helper()
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
	decode(t, must(t, "", "get", "pods", "-n", system, "-l", "app.kubernetes.io/name="+part, "-o", "json"), &list)
	out := map[string]string{}
	for _, p := range list.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" && p.Metadata.DeletionTimestamp == nil {
				out[p.Metadata.Name] = p.Spec.NodeName
			}
		}
	}
	return out
}

const (
	agentPart      = "palisade-nodeagent"
	controllerPart = "palisade-controller"
)

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %.200s", err, text)
	}
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
func flows(t *testing.T, ns string) (out []flow) {
	t.Helper()
	for agent := range running(t, agentPart) {
		text := must(t, "", "exec", "-n", system, agent, "-c", "nodeagent", "--", "/palisade", "flows", "-o", "json", "--namespace", ns)
		for line := range strings.Lines(text) {
			var f flow
			decode(t, line, &f)
			if f.Verdict != "" { // else a count of losses
				out = append(out, f)
			}
		}
	}
	return out
}

// policyStatus is the status of a policy of ours.
func policyStatus(t *testing.T, ns, name string) v1alpha1.PolicyStatus {
	t.Helper()
	var object struct{ Status v1alpha1.PolicyStatus }
	args := []string{"get", name, "-o", "json"}
	if ns != "" {
		args = append(args, "-n", ns)
	}
	decode(t, must(t, "", args...), &object)
	return object.Status
}

// expectCondition waits for a condition, and returns it.
func expectCondition(t *testing.T, ns, name, kind string, status metav1.ConditionStatus, reason string) (found metav1.Condition) {
	t.Helper()
	eventually(t, name+" "+kind, func() error {
		conditions := policyStatus(t, ns, name).Conditions
		for _, c := range conditions {
			if c.Type == kind && c.Status == status && c.Reason == reason {
				found = c
				return nil
			}
		}
		return fmt.Errorf("want %s %s: have %+v", status, reason, conditions)
	})
	return found
}

// snapshots is what a controller's /snapshots says.
type snapshots struct {
	Leader  bool
	Counter uint64
	Nodes   map[string]string
}

func proxied(t *testing.T, podName string, port int, path string) string {
	t.Helper()
	return must(t, "", "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%d/proxy/%s", system, podName, port, path))
}

// published is what every controller says, the leader first.
func published(t *testing.T) (out []snapshots) {
	t.Helper()
	for name := range running(t, controllerPart) {
		var s snapshots
		decode(t, proxied(t, name, 8080, "snapshots"), &s)
		if s.Leader {
			out = append([]snapshots{s}, out...)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// metric adds up a metric over its labels.
func metric(t *testing.T, text, name string) (sum float64) {
	t.Helper()
	found := false
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || key != name && !strings.HasPrefix(key, name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metric %s: %v", line, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		t.Fatalf("no metric %s", name)
	}
	return sum
}
