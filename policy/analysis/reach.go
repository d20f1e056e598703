package analysis

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"palisade.dev/palisade/policy/model"
)

// Judge answers connections, in their order. Tables, the reference evaluator
// and a node's kernel are all put behind it.
type Judge func([]model.Connection) ([]model.Outcome, error)

// JudgeAll lets Tables answer many connections.
func (t *Tables) JudgeAll(conns []model.Connection) ([]model.Outcome, error) {
	out := make([]model.Outcome, len(conns))
	for i, c := range conns {
		var err error
		if out[i], err = t.Judge(c); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// End is one end of a question, by the name that the answer shows.
type End struct {
	Name      string
	Addresses []netip.Addr
}

// Family tells which addresses an answer is about.
type Family uint8

// The families. AnyFamily: all that both ends have, and the answer is the same.
const (
	AnyFamily Family = 0
	IPv4      Family = 4
	IPv6      Family = 6
)

func (f Family) String() string {
	return map[Family]string{AnyFamily: "any", IPv4: "IPv4", IPv6: "IPv6"}[f]
}

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// Answer is the outcome for a pair of ends and a port.
type Answer struct {
	From, To string
	Port     Port
	Family   Family // AnyFamily unless the families differ
	Outcome  model.Outcome
}

// ErrNoConnection says that two ends share no address family that the protocol
// can use, so that there is nothing to judge.
var ErrNoConnection = errors.New("no connection is possible between them")

// Explain answers for one pair. Where both ends have IPv4 and IPv6 and the
// outcomes differ there is one answer for each.
func Explain(judge Judge, from, to End, port Port) ([]Answer, error) {
	if len(connections(from, to, port)) == 0 {
		return nil, fmt.Errorf("%s (%s) and %s (%s), %s: %w", from.Name, addressList(from), to.Name, addressList(to), port, ErrNoConnection)
	}
	return ask(judge, []pair{{from, to, port}})
}

// Reach answers for all ordered pairs of ends, each end with itself included,
// and all ports, in the order given. Pairs between which no connection is
// possible are left out.
func Reach(judge Judge, ends []End, ports []Port) ([]Answer, error) {
	var pairs []pair
	for _, from := range ends {
		for _, to := range ends {
			for _, port := range ports {
				pairs = append(pairs, pair{from, to, port})
			}
		}
	}
	return ask(judge, pairs)
}

type pair struct {
	from, to End
	port     Port
}

// ask puts all pairs to the judge at once and folds what it says of each.
func ask(judge Judge, pairs []pair) ([]Answer, error) {
	var conns []model.Connection
	counts := make([]int, len(pairs))
	for i, p := range pairs {
		c := connections(p.from, p.to, p.port)
		counts[i] = len(c)
		conns = append(conns, c...)
	}
	outcomes, err := judge(conns)
	if err != nil {
		return nil, err
	}
	if len(outcomes) != len(conns) {
		return nil, fmt.Errorf("the judge answered %d of %d connections", len(outcomes), len(conns))
	}
	var answers []Answer
	for i, p := range pairs {
		n := counts[i]
		answers = append(answers, fold(p, conns[:n], outcomes[:n])...)
		conns, outcomes = conns[n:], outcomes[n:]
	}
	return answers, nil
}

// fold makes one answer of equal outcomes, else one for each that differs from
// those before it.
func fold(p pair, conns []model.Connection, outcomes []model.Outcome) []Answer {
	var out []Answer
	for i, o := range outcomes {
		family := familyOf(conns[i].From)
		known := false
		for _, a := range out {
			known = known || a.Outcome == o
		}
		if !known {
			out = append(out, Answer{From: p.from.Name, To: p.to.Name, Port: p.port, Family: family, Outcome: o})
		}
	}
	if len(out) == 1 {
		out[0].Family = AnyFamily
	}
	return out
}

// connections lists what can be tried: every pair of addresses of one family.
func connections(from, to End, port Port) []model.Connection {
	var out []model.Connection
	for _, f := range from.Addresses {
		for _, t := range to.Addresses {
			if familyOf(f) == familyOf(t) && port.fits(f) {
				out = append(out, model.Connection{From: f, To: t, Proto: port.Proto, Port: port.Number})
			}
		}
	}
	return out
}

func addressList(e End) string {
	if len(e.Addresses) == 0 {
		return "no address"
	}
	texts := make([]string, len(e.Addresses))
	for i, a := range e.Addresses {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
