//go:build guest

package runtime

import (
	"fmt"
	"strings"
	"testing"
)

// Two policies that deny and accept the same by different rules.
var swaps = []string{
	`executables: {rules: [{name: denied-1, action: Deny, paths: [$dir/denied]}]}
files: {rules: [{name: secret-1, action: Deny, paths: [$dir/secret]}]}`,
	`executables: {default: Deny, rules: [{name: permit-2, action: Accept, paths: [$dir/permit, /bin/attack]}]}
files: {rules: [{name: secret-2, action: Deny, globs: ["$dir/**ret"]}]}`,
}

func swap(i int) Row {
	return Row{Name: "swap", Pod: "swap", Spec: swaps[i], Attacks: []string{"storm"}}
}

// flips is how often the generation changes without an agent.
const flips = 5000

// swap starts the agent again with another generation, and then changes between the two
// many times. Meanwhile pods start, and real opens and execs are judged by the old or the
// new one, and never by neither.
func (s *stage) swap(t *testing.T, a *agent, manifests string) {
	dir := swap(0).Dir("storm")
	a.stop()
	old := openSides(t)
	before := old.lines(old.judging())
	x, err := s.pod("swap").attacker.Begin("storm", dir)
	must(t, err)
	_, err = x.Wait("ready")
	must(t, err)
	want := a.give(manifests)
	a.begin()
	s.starts(t, starts()/2, starts())
	a.await(want)
	a.stop()
	openSides(t).flips(before, flips)
	must(t, x.Go())
	line, err := x.Wait("storm ")
	must(t, err)
	o, err := x.Result()
	must(t, err)
	fmt.Printf("swaps: flips=%d %s\n", flips, strings.TrimPrefix(line, "storm "))
	if !o.Succeeded {
		t.Errorf("%+v", o)
	}
	s.stopped("after the agent started again", "life", life)
}
