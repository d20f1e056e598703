package corpus

import (
	"fmt"
	"net/netip"
	"strings"

	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
)

// parser reads the lines of expect against a world.
type parser struct {
	world *manifests.World
}

func (p *parser) expectation(line string) (Expectation, error) {
	e := Expectation{Text: strings.TrimSpace(line)}
	words := strings.Fields(line)
	if len(words) < 5 || words[1] != "->" {
		return e, fmt.Errorf("%q is not FROM -> TO PORT VERDICT ...", e.Text)
	}
	e.From, e.To = words[0], words[2]
	port, err := analysis.ParsePort(words[3])
	if err != nil {
		return e, err
	}
	verdict, err := parseVerdict(words[4])
	if err != nil {
		return e, err
	}
	options, err := parseOptions(words[5:])
	if err != nil {
		return e, err
	}
	if err := p.connect(&e, port, options["family"]); err != nil {
		return e, err
	}
	if e.Want.Egress, err = p.judgement("egress", e.Connections[0].From, verdict, options); err != nil {
		return e, err
	}
	if e.Want.Ingress, err = p.judgement("ingress", e.Connections[0].To, verdict, options); err != nil {
		return e, err
	}
	if have := e.Want.Verdict(); have != verdict {
		return e, fmt.Errorf("the line says %s and its decisions %s", verdict, have)
	}
	return e, nil
}

func parseOptions(words []string) (map[string]string, error) {
	options := map[string]string{}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "egress", "ingress", "staged-egress", "staged-ingress", "family":
			options[key] = value
		default:
			return nil, fmt.Errorf("no option is called %q", key)
		}
	}
	return options, nil
}

func parseVerdict(word string) (model.Verdict, error) {
	switch word {
	case "Allow":
		return model.Allow, nil
	case "Deny":
		return model.Deny, nil
	}
	return 0, fmt.Errorf("%q is neither Allow nor Deny", word)
}

// connect lists the connections that a line is about.
func (p *parser) connect(e *Expectation, port analysis.Port, family string) error {
	froms, err := p.addresses(e.From)
	if err != nil {
		return err
	}
	tos, err := p.addresses(e.To)
	if err != nil {
		return err
	}
	for _, from := range froms {
		for _, to := range tos {
			is4 := from.Is4()
			switch {
			case is4 != to.Is4(), family == "4" && !is4, family == "6" && is4,
				port.Proto == model.ProtoICMP && !is4, port.Proto == model.ProtoICMPv6 && is4:
				continue
			}
			e.Connections = append(e.Connections, model.Connection{From: from, To: to, Proto: port.Proto, Port: port.Number})
		}
	}
	if len(e.Connections) == 0 {
		return fmt.Errorf("%s and %s share no address family for %s", e.From, e.To, port)
	}
	return nil
}

// addresses are those of an end: an address, or an endpoint's.
func (p *parser) addresses(end string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(end); err == nil {
		return []netip.Addr{a}, nil
	}
	if addrs, ok := p.world.HostPods[end]; ok {
		return addrs, nil
	}
	id := endpointID(end)
	for _, e := range p.world.Cluster.Endpoints {
		if e.ID == id {
			return e.Addresses, nil
		}
	}
	return nil, fmt.Errorf("no %s is called %q", id.Kind, end)
}

func endpointID(end string) model.EndpointID {
	if name, ok := strings.CutPrefix(end, "node:"); ok {
		return model.EndpointID{Kind: model.EndpointNode, Name: name}
	}
	id := model.EndpointID{Kind: model.EndpointPod}
	if rest, ok := strings.CutPrefix(end, "ew:"); ok {
		id.Kind, end = model.EndpointExternal, rest
	}
	id.Namespace, id.Name, _ = strings.Cut(end, "/")
	return id
}

// judgement is what a line says of one direction, whose subject has an address.
func (p *parser) judgement(direction string, subject netip.Addr, verdict model.Verdict, options map[string]string) (model.Judgement, error) {
	j := model.Judgement{Enforced: p.unsaid(subject)}
	var err error
	if text := options[direction]; text != "" {
		if j.Enforced, err = p.decision(text, verdict); err != nil {
			return j, err
		}
	}
	j.Staged = j.Enforced
	if text := options["staged-"+direction]; text != "" {
		j.Staged, err = p.decision(text, verdict)
	}
	return j, err
}

// unsaid is what a direction must come to that a line does not mention.
func (p *parser) unsaid(subject netip.Addr) model.Decision {
	rule := model.RuleDefault
	if e := owner(&p.world.Cluster, subject); e == nil || e.ID.Kind == model.EndpointNode {
		rule = model.RuleNobody
	}
	return model.Decision{Verdict: model.Allow, By: model.Builtin(rule)}
}

// decision reads [Allow:|Deny:]POLICY/RULE[+log].
func (p *parser) decision(text string, verdict model.Verdict) (model.Decision, error) {
	d := model.Decision{Verdict: verdict}
	if word, rest, ok := strings.Cut(text, ":"); ok {
		v, err := parseVerdict(word)
		if err != nil {
			return d, err
		}
		d.Verdict, text = v, rest
	}
	text, d.Log = strings.CutSuffix(text, "+log")
	i := strings.LastIndex(text, "/")
	if i < 0 {
		d.By = model.Builtin(text)
		return d, nil
	}
	for _, policy := range p.world.Cluster.Policies {
		if policy.Ref.String() == text[:i] {
			d.By = model.RuleRef{Tier: policy.Tier, Policy: policy.Ref, Rule: text[i+1:]}
			return d, nil
		}
	}
	return d, fmt.Errorf("no policy is called %q", text[:i])
}
