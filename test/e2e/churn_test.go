package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestChurnOfAKnownKind: pods of a kind that policies know come and go, and
// nobody compiles a rule or writes a condition for them; they are guarded all the
// same. A pod of a new kind shows that the counters count.
func TestChurnOfAKnownKind(t *testing.T) {
	const pods = 20
	ns := namespace(t)
	settled(t, ns)
	p := launch(t, ns, "web@n1", "web0@n2/web", "client@n2", "other@n1")
	client, other := p[2], p[3]
	ready(t, fmt.Sprintf(isolate, ns), ns+":pnp/web")
	expect(t, other, map[string]bool{p[0].tcp4(8080): false, p[1].tcp4(8080): false})
	sameDigests(t)
	conditions := func() (string, error) {
		s, err := policyStatus(ns, "pnp/web")
		if err != nil {
			return "", err
		}
		text, err := json.Marshal(s.Conditions)
		return string(text), err
	}
	before, stated := now(t, work), now(t, conditions)

	var specs []string
	for i := range pods {
		specs = append(specs, fmt.Sprintf("churn-%d@n%d/web", i, 1+i%2))
	}
	churned := launch(t, ns, specs...)
	open, closed := map[string]bool{}, map[string]bool{}
	for _, c := range churned {
		open[c.tcp4(8080)], open[c.tcp6(8080)] = true, true
		closed[c.tcp4(8080)], closed[c.tcp6(8080)] = false, false
	}
	expect(t, client, open)
	expect(t, other, closed)
	var names []string
	for _, c := range churned {
		names = append(names, c.name)
	}
	must(t, "", append([]string{"delete", "pod", "-n", ns, "--wait=true"}, names...)...)
	sameDigests(t)
	after := now(t, work)
	for _, step := range []string{"policies_loaded", "kinds_added", "kinds_removed", "rulesets_computed"} {
		if before[step] != after[step] {
			t.Errorf("%s: %v before, %v after %d pods came and went", step, before[step], after[step], pods)
		}
	}
	if after["rows_written"] == before["rows_written"] {
		t.Errorf("no row was written for %d pods", pods)
	}
	if after := now(t, conditions); after != stated {
		t.Errorf("conditions were %s, are %s", stated, after)
	}

	// The control: a pod of a kind that is new.
	must(t, "", "label", "pod", "-n", ns, "other", "app=client", "--overwrite")
	expect(t, other, map[string]bool{p[0].tcp4(8080): true})
	must(t, "", "label", "pod", "-n", ns, "other", "app=nobody-else", "--overwrite")
	pace.Until(t, "a kind is added", func() error {
		done, err := work()
		if err == nil && done["kinds_added"] == before["kinds_added"] {
			err = fmt.Errorf("work %v", done)
		}
		return err
	})
}

// settled waits until no other test's objects are left: namespaces of tests that are
// over go in their own time, and the controller's work for them would be counted here.
// It is for the start of a test: by the time that pods and a policy of the test's own are
// in force, the controller has seen the others go.
func settled(t *testing.T, ns string) {
	t.Helper()
	pace.Until(t, "objects of other tests are gone", func() error {
		names, err := kubectl("", "get", "namespaces,cwp,pag", "-o", "name")
		if err != nil {
			return err
		}
		for _, name := range strings.Fields(names) {
			if strings.Contains(name, "/e2e-") && name != "namespace/"+ns {
				return fmt.Errorf("%s is still there", name)
			}
		}
		return nil
	})
}

// work is what compiling has done on the leader, by step.
func work() (map[string]float64, error) {
	controllers, err := running(controllerPart)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for controller := range controllers {
		text, err := proxied(controller, 8080, "metrics")
		if err != nil {
			return nil, err
		}
		if leads, err := metric(text, "palisade_leader"); err != nil {
			return nil, err
		} else if leads != 1 {
			continue
		}
		for line := range strings.Lines(text) {
			var step string
			var count float64
			if n, _ := fmt.Sscanf(line, "palisade_compile_work_total{step=%q} %g", &step, &count); n == 2 {
				out[step] = count
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no leader counts its work")
	}
	return out, nil
}
