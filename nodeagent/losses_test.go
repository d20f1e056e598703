package nodeagent

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/snapshot"
)

// TestLosses: what is missing is told by rule, once.
func TestLosses(t *testing.T) {
	counter := func(id byte, lost uint32) datapath.Counter {
		c := datapath.Counter{Lost: lost}
		c.Rule = snapshot.RuleID{id}
		return c
	}
	built := func(name string, lost uint32) datapath.Counter {
		c := datapath.Counter{Lost: lost}
		c.Builtin = name
		return c
	}
	var ring uint32
	var by []datapath.Counter
	var fails error
	l := losses{read: func() (uint32, []datapath.Counter, error) { return ring, by, fails }}
	steps := []struct {
		ring uint32
		by   []datapath.Counter
		want string
	}{
		{2, []datapath.Counter{counter(1, 5), counter(2, 0), built("spoofed", 1)}, "ring 2, 1 5, spoofed 1"},
		{2, []datapath.Counter{counter(1, 5), counter(2, 3), built("spoofed", 1)}, "2 3"},
		{3, []datapath.Counter{counter(1, 6), counter(2, 3), counter(1, 4)}, "ring 1, 1 5"}, // the kernel's and the agent's
		{3, []datapath.Counter{counter(1, 2), counter(3, 4)}, "3 4"},                        // 1 came anew
		{3, []datapath.Counter{counter(1, 3)}, "1 1"},
		{3, nil, ""},
		{3, []datapath.Counter{counter(1, 3)}, "1 3"},
	}
	for i, s := range steps {
		ring, by = s.ring, s.by
		list, err := l.since()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range list {
			name := x.by.builtin
			switch {
			case x.by == (lostBy{}):
				name = "ring"
			case name == "":
				name = fmt.Sprint(x.Rule[0])
			}
			got = append(got, fmt.Sprint(name, " ", x.n))
		}
		if have := strings.Join(got, ", "); have != s.want {
			t.Errorf("step %d: %q, want %q", i, have, s.want)
		}
	}
	fails = errors.New("map is gone")
	if _, err := l.since(); !errors.Is(err, fails) {
		t.Errorf("%v", err)
	}
}

// TestObserved: of a rule that the agent judges by so much is told in a second.
func TestObserved(t *testing.T) {
	o := &observed{}
	id := snapshot.RuleID{1}
	told := 0
	for i := range uint64(10) {
		if o.count(id, i/5, 2) {
			told++
		}
	}
	c := o.counters()
	if told != 4 || len(c) != 1 || c[0].Bytes != 10 || c[0].Lost != 6 || c[0].Rule != id {
		t.Errorf("%d told, %+v", told, c)
	}
}
