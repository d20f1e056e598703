//go:build guest

package runtime

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Two policies that deny and accept the same by different rules.
var swaps = []string{
	`executables: {rules: [{name: denied-1, action: Deny, paths: [$dir/denied]}]}
files: {rules: [{name: secret-1, action: Deny, paths: [$dir/secret]}]}`,
	`executables: {default: Deny, rules: [{name: permit-2, action: Accept, paths: [$dir/permit, /bin/attack]}]}
files: {rules: [{name: secret-2, action: Deny, globs: ["$dir/**ret"]}]}`,
}

// TestSwaps: while generations change, real opens and execs are judged by the old or
// the new one, and never by neither.
func TestSwaps(t *testing.T) {
	row := Row{Name: "swap", Pod: "swap", Spec: swaps[0], Attacks: []string{"storm"}}
	s := newStage(t, []Row{row})
	a := newAgent(t, t.TempDir())
	texts := make([]string, len(swaps))
	for i, spec := range swaps {
		row.Spec = spec
		text, err := Manifests([]Row{row}, []string{"swap"})
		must(t, err)
		texts[i] = text
	}
	a.enforce(texts[0])
	x, err := s.pod("swap").attacker.Begin("storm", row.Dir("storm"))
	must(t, err)
	_, err = x.Wait("ready")
	must(t, err)
	n := 0
	for deadline := time.Now().Add(swapping()); time.Now().Before(deadline); n++ {
		a.enforce(texts[(n+1)%len(texts)])
	}
	must(t, x.Go())
	line, err := x.Wait("storm ")
	must(t, err)
	o, err := x.Result()
	must(t, err)
	fmt.Printf("swaps: %d generations, %s\n", n, strings.TrimPrefix(line, "storm "))
	if !o.Succeeded || n < 2 {
		t.Errorf("%d swaps: %+v", n, o)
	}
}

func swapping() time.Duration {
	if starts() == allStarts {
		return 5 * time.Minute
	}
	return 12 * time.Second
}
