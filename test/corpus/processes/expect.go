package processes

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// expectation reads one line.
func (s *Scenario) expectation(words []string) (Expectation, error) {
	var e Expectation
	if len(words) < 5 {
		return e, fmt.Errorf("want WHO OPERATION OBJECT ... VERDICT DECISION, have %d words", len(words))
	}
	if err := e.who(words[0]); err != nil {
		return e, err
	}
	if err := e.operation(words[1], words[2]); err != nil {
		return e, err
	}
	words = words[3:]
	for len(words) > 0 && strings.Contains(words[0], "=") {
		key, value, _ := strings.Cut(words[0], "=")
		if err := e.option(key, value); err != nil {
			return e, err
		}
		words = words[1:]
	}
	if len(words) < 2 || len(words) > 3 {
		return e, fmt.Errorf("%q is not VERDICT DECISION [staged=...]", words)
	}
	var err error
	if e.Want.Enforced, err = s.decision(words[0], words[1]); err != nil {
		return e, err
	}
	e.Want.Staged = e.Want.Enforced
	if len(words) == 3 {
		text, ok := strings.CutPrefix(words[2], "staged=")
		verdict, rule, found := strings.Cut(text, ":")
		if !ok || !found {
			return e, fmt.Errorf("%q is not staged=VERDICT:DECISION", words[2])
		}
		e.Want.Staged, err = s.decision(verdict, rule)
	}
	return e, err
}

func (e *Expectation) who(word string) error {
	if name, ok := strings.CutPrefix(word, "node:"); ok {
		e.Who = model.EndpointID{Kind: model.EndpointNode, Name: name}
		return nil
	}
	if workload, ok := strings.CutPrefix(word, "ew:"); ok {
		ns, name, _ := strings.Cut(workload, "/")
		e.Who = model.EndpointID{Kind: model.EndpointExternal, Namespace: ns, Name: name}
		return nil
	}
	pod, container, ok := strings.Cut(word, ":")
	ns, name, slash := strings.Cut(pod, "/")
	if !ok || !slash {
		return fmt.Errorf("%q is none of NAMESPACE/POD:CONTAINER, node:NAME and ew:NAMESPACE/NAME", word)
	}
	e.Who, e.Container = model.EndpointID{Namespace: ns, Name: name}, container
	return nil
}

// The names that operations have in the API, by section.
var (
	fileNames      = []string{"Read", "Write", "Create", "Delete", "Rename", "Link", "Attributes", "MapExecutable"}
	privilegeNames = []string{
		"Capability", "SetUser", "SetGroup", "UserNamespace", "JoinNamespace", "Ptrace", "Mount", "Chroot", "PivotRoot",
		"LoadModule", "LoadBPF", "WriteExecMemory", "IOUring", "RawSocket", "PacketSocket",
	}
	socketNames = []string{"Connect", "Bind", "Listen", "Send"}
)

func (e *Expectation) operation(names, object string) error {
	op := &e.Operation
	op.Origin = model.OriginImage
	if names == "exec" || names == "map" {
		op.Mapping = names == "map"
		return e.path(object)
	}
	for _, name := range strings.Split(names, ",") {
		name, capability, _ := strings.Cut(name, ":")
		if capability != "" {
			number := slices.Index(v1alpha1.Capabilities, v1alpha1.Capability(capability))
			if number < 0 {
				return fmt.Errorf("%q is no capability", capability)
			}
			op.Capability = uint8(number)
		}
		found := false
		for section, list := range map[model.Section][]string{
			model.SectionFiles: fileNames, model.SectionPrivileges: privilegeNames, model.SectionNetwork: socketNames,
		} {
			if i := slices.Index(list, name); i >= 0 {
				op.Section, found = section, true
				op.Bits |= 1 << i
			}
		}
		if !found {
			return fmt.Errorf("%q is no operation", name)
		}
	}
	switch op.Section {
	case model.SectionFiles:
		return e.path(object)
	case model.SectionNetwork:
		return e.address(object)
	}
	return nil
}

func (e *Expectation) path(object string) error {
	if e.Operation.Unresolvable = object == "(long)"; e.Operation.Unresolvable {
		return nil
	}
	if !strings.HasPrefix(object, "/") {
		return fmt.Errorf("%q is no path", object)
	}
	e.Operation.Path = object
	return nil
}

// address reads ADDRESS:PORT/PROTOCOL; a - for the address is none.
func (e *Expectation) address(object string) error {
	end, proto, ok := strings.Cut(object, "/")
	numbers := map[string]model.Protocol{
		"tcp": model.ProtoTCP, "udp": model.ProtoUDP, "sctp": model.ProtoSCTP, "icmp": model.ProtoICMP, "icmpv6": model.ProtoICMPv6,
	}
	e.Operation.Proto = numbers[proto]
	i := strings.LastIndex(end, ":")
	if !ok || e.Operation.Proto == 0 || i < 0 {
		return fmt.Errorf("%q is not ADDRESS:PORT/PROTOCOL", object)
	}
	port, err := strconv.ParseUint(end[i+1:], 10, 16)
	if err != nil {
		return fmt.Errorf("%q: %w", object, err)
	}
	e.Operation.Port = model.Port(port)
	if end[:i] == "-" {
		return nil
	}
	e.Operation.Address, err = netip.ParseAddr(strings.Trim(end[:i], "[]"))
	return err
}

func (e *Expectation) option(key, value string) error {
	op := &e.Operation
	origins := map[string]model.Origin{
		"Image": model.OriginImage, "Modified": model.OriginModified, "Memory": model.OriginMemory, "Outside": model.OriginOutside,
	}
	switch key {
	case "origin":
		if op.Origin = origins[value]; op.Origin == 0 {
			return fmt.Errorf("%q is no origin", value)
		}
	case "by":
		op.Executable = value
	case "after":
		op.Ancestry = strings.Split(value, ",")
	case "args":
		op.Arguments = append([]string{"program"}, strings.Split(value, ",")...)
	case "deep":
		op.DeepAncestry = value == "yes"
	case "owned":
		op.Owned = value == "yes"
	case "directory":
		op.Directory = value == "yes"
	default:
		return fmt.Errorf("no option is called %q", key)
	}
	return nil
}

func (s *Scenario) decision(verdict, by string) (model.Decision, error) {
	var d model.Decision
	i := slices.Index([]string{"Allow", "Deny", "Kill"}, verdict)
	if i < 0 {
		return d, fmt.Errorf("%q is no verdict", verdict)
	}
	d.Verdict = model.Verdict(i)
	if !strings.Contains(by, "/") {
		d.By = model.Builtin(by)
		return d, nil
	}
	for _, p := range s.Cluster.Policies {
		if rule, ok := strings.CutPrefix(by, p.Ref.String()+"/"); ok {
			d.By = model.RuleRef{Tier: p.Tier, Policy: p.Ref, Rule: rule}
			return d, nil
		}
	}
	return d, fmt.Errorf("no policy of the scenario has %q", by)
}
