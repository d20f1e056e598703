package corpus

import (
	"fmt"
	"strings"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
)

// A Maker makes a judge for a cluster.
type Maker func(model.Cluster) (analysis.Judge, error)

// Check asks a judge everything that a scenario expects and returns a line for
// each answer that is another one.
func (s *Scenario) Check(judge analysis.Judge) ([]string, error) {
	var conns []model.Connection
	for _, e := range s.Expect {
		conns = append(conns, e.Connections...)
	}
	outcomes, err := judge(conns)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", s.Name, err)
	}
	if len(outcomes) != len(conns) {
		return nil, fmt.Errorf("scenario %s: %d answers to %d questions", s.Name, len(outcomes), len(conns))
	}
	var wrong []string
	for _, e := range s.Expect {
		for _, c := range e.Connections {
			if outcomes[0] != e.Want {
				wrong = append(wrong, fmt.Sprintf("%s: expect:%d: %s (%s to %s)\n  want %s\n  have %s",
					s.Name, e.Line, e.Text, c.From, c.To, Describe(e.Want), Describe(outcomes[0])))
			}
			outcomes = outcomes[1:]
		}
	}
	return wrong, nil
}

// Describe writes an outcome in a line.
func Describe(o model.Outcome) string {
	return fmt.Sprintf("%s egress=%s ingress=%s", o.Verdict(), describe(o.Egress), describe(o.Ingress))
}

func describe(j model.Judgement) string {
	text := decision(j.Enforced)
	if j.Staged != j.Enforced {
		text += "[staged " + decision(j.Staged) + "]"
	}
	return text
}

func decision(d model.Decision) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%s:%s/%s", d.Verdict, d.By.Tier, d.By.Policy, d.By.Rule)
	if d.Log {
		b.WriteString("+log")
	}
	return b.String()
}
