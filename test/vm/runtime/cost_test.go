//go:build guest

package runtime

import (
	"fmt"
	"strings"
	"testing"
)

// TestCost prints what executing and opening cost, against no agent in the same run.
// Emulation is no place for times: only the ratios mean something.
func TestCost(t *testing.T) {
	row := Row{Name: "cost", Pod: "cost", Spec: noRead + "\n" + noExec, Attacks: []string{"cost"}}
	s := newStage(t, []Row{row})
	a := newAgent(t, t.TempDir())
	baseExec, baseOpen := s.cost(row)
	fmt.Printf("cost no-agent exec=%.0fus open=%.1fus\n", baseExec/1e3, baseOpen/1e3)
	for _, n := range []int{0, 10, 100, 1000} {
		var rows []Row
		pods := []string{"cost"}
		for i := range n {
			r := row
			if i > 0 { // one applies
				r.Name, r.Pod = fmt.Sprintf("cost-%d", i), fmt.Sprintf("elsewhere-%d", i%20)
			}
			rows = append(rows, r)
		}
		for _, r := range rows {
			if r.Pod != "cost" && len(pods) < 20 {
				pods = append(pods, r.Pod)
			}
		}
		text, err := Manifests(rows, pods)
		must(t, err)
		a.enforce(text)
		exec, open := s.cost(row)
		fmt.Printf("cost policies=%d exec=%.0fus open=%.1fus exec-ratio=%.2f open-ratio=%.2f\n", n, exec/1e3, open/1e3, exec/baseExec, open/baseOpen)
	}
}

func (s *stage) cost(r Row) (exec, open float64) {
	s.t.Helper()
	x, err := s.pod(r.Pod).attacker.Begin("cost", r.Dir("cost"))
	must(s.t, err)
	line, err := x.Wait("cost ")
	must(s.t, err)
	if _, err := fmt.Sscanf(strings.TrimSpace(line), "cost exec=%f open=%f", &exec, &open); err != nil {
		s.t.Fatalf("%q: %v", line, err)
	}
	_, err = x.Result()
	must(s.t, err)
	return exec, open
}
