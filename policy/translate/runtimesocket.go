package translate

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

func (t *runtimeTranslator) sockets(at *field.Path, s *v1alpha1.SocketSection) model.RuntimeSection {
	var rules, exceptions []model.RuntimeRule
	for i := range s.Rules {
		r, where := &s.Rules[i], at.Child("rules").Index(i)
		out := t.common(where, &r.RuntimeRule)
		out.Operations = operations(t, where.Child("operations"), SocketOperations, r.Operations)
		t.socket(where, &r.SocketMatch, &out)
		rules = append(rules, out)
	}
	for i := range s.Exceptions {
		e, where := &s.Exceptions[i], at.Child("exceptions").Index(i)
		out := t.exception(where, &e.RuntimeException)
		out.Operations = operations(t, where.Child("operations"), SocketOperations, e.Operations)
		t.socket(where, &e.SocketMatch, &out)
		t.narrow(where, "socket", "operations, protocols, peers or from", &out)
		exceptions = append(exceptions, out)
	}
	return t.section(at, model.SectionNetwork, t.isolates(at.Child("default"), s.Default), rules, exceptions)
}

// socket translates which sockets a rule is about.
func (t *runtimeTranslator) socket(at *field.Path, m *v1alpha1.SocketMatch, out *model.RuntimeRule) {
	for i := range m.Protocols {
		where := at.Child("protocols").Index(i)
		p := &m.Protocols[i]
		if p.DestinationNamedPort != "" || p.ICMP != nil && p.ICMP.Type != nil || p.ICMPv6 != nil && p.ICMPv6.Type != nil {
			t.add(where, "use port numbers, and leave type out", "a socket knows no named ports and no ICMP types")
			continue
		}
		for _, match := range t.protocol(where, p) {
			out.Ports = append(out.Ports, model.RuntimePorts{Proto: match.Proto, Lo: match.Lo, Hi: match.Hi})
		}
	}
	slices.SortFunc(out.Ports, func(a, b model.RuntimePorts) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Lo, b.Lo), cmp.Compare(a.Hi, b.Hi))
	})
	out.Ports = slices.Compact(out.Ports)
	remote := out.Operations != 0 && model.SocketOperation(out.Operations)&^(model.SocketConnect|model.SocketSend) == 0
	for i := range m.Peers {
		where, p := at.Child("peers").Index(i), &m.Peers[i]
		if p.IPBlock == nil && len(p.Networks) == 0 && !remote {
			t.add(where, "set operations to Connect, Send or both, or use ipBlock and networks, which match the local address",
				"a socket that binds or listens has a local address and no peer")
		}
		out.Peers = append(out.Peers, t.peer(where, p)...)
	}
}
