package runtime

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Result is what a test found about one type of rule, or about one row.
type Result struct {
	Kernel string `json:"kernel"`
	// Of a type of rule with an action, by a backend.
	Section string `json:"section,omitempty"`
	Type    string `json:"type,omitempty"`
	Action  string `json:"action,omitempty"`
	Backend string `json:"backend,omitempty"`
	// Of a way around.
	Row  string `json:"row,omitempty"`
	What string `json:"what,omitempty"`

	Result string `json:"result"`
	Reason string `json:"reason,omitempty"`
}

// What a result says.
const (
	Prevented  = "prevented"   // the operation did not happen, and the process went on
	Killed     = "killed"      // the operation did not happen, and the process ended
	Observed   = "observed"    // it happened, and an event says that a Deny would have stopped it
	Accepted   = "accepted"    // it happened though the section is isolated; without the rule it does not
	Stopped    = "stopped"     // a way around works without the policy, and not with it
	NotStopped = "not stopped" // it works with the policy too, for the reason if there is one

	KilledAfter = "killed after the fact" // the process ended before it could go on
	NotObserved = "not observed"          // it happened, and no event says so
)

// ResultMark begins a line with a result on a guest's console.
const ResultMark = "result "

// Line is a result as a guest prints it.
func (r Result) Line() (string, error) {
	data, err := json.Marshal(r)
	return ResultMark + string(data), err
}

// ParseResults finds the lines of results among all that was printed.
func ParseResults(console string) ([]Result, error) {
	var out []Result
	for line := range strings.Lines(console) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), ResultMark)
		if !ok {
			continue
		}
		var r Result
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return nil, fmt.Errorf("result %s: %w", text, err)
		}
		out = append(out, r)
	}
	return out, nil
}
