package translate

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// protocol translates one entry of protocols: one match, or none if it is bad.
func (t *policyTranslator) protocol(at *field.Path, p *v1alpha1.Protocol) []model.PortMatch {
	var out []model.PortMatch
	set := 0
	for _, x := range [...]struct {
		name  string
		proto model.Protocol
		match *v1alpha1.PortMatch
	}{{"tcp", model.ProtoTCP, p.TCP}, {"udp", model.ProtoUDP, p.UDP}, {"sctp", model.ProtoSCTP, p.SCTP}} {
		if x.match == nil {
			continue
		}
		set++
		if m, ok := t.ports(at.Child(x.name, "destinationPort"), x.proto, x.match.DestinationPort); ok {
			out = append(out, m)
		}
	}
	for _, x := range [...]struct {
		name  string
		proto model.Protocol
		match *v1alpha1.ICMPMatch
	}{{"icmp", model.ProtoICMP, p.ICMP}, {"icmpv6", model.ProtoICMPv6, p.ICMPv6}} {
		if x.match == nil {
			continue
		}
		set++
		if m, ok := t.icmp(at.Child(x.name), x.proto, x.match); ok {
			out = append(out, m)
		}
	}
	if p.DestinationNamedPort != "" {
		set++
		out = append(out, model.PortMatch{Proto: model.ProtoAny, Name: string(p.DestinationNamedPort)})
	}
	if set != 1 {
		t.add(at, "split two into two entries of protocols, and leave protocols out to match every protocol",
			"a protocol has exactly one of tcp, udp, sctp, icmp, icmpv6, destinationNamedPort")
	}
	return out
}

func (t *policyTranslator) ports(at *field.Path, proto model.Protocol, port *v1alpha1.Port) (model.PortMatch, bool) {
	switch {
	case port == nil:
		return model.PortMatch{Proto: proto, Lo: 0, Hi: lastPort}, true
	case port.Range != nil && port.Number == 0:
		r := at.Child("range")
		return t.portRange(r.Child("start"), r.Child("end"), proto, int32(port.Range.Start), int32(port.Range.End), true)
	case port.Range == nil && port.Number != 0:
		n := int32(port.Number)
		return t.portRange(at.Child("number"), at.Child("number"), proto, n, n, true)
	}
	t.add(at, "remove one, or leave destinationPort out to match every port", "it has exactly one of number and range")
	return model.PortMatch{}, false
}

// icmp packs type and code into a port: type<<8 | code.
func (t *policyTranslator) icmp(at *field.Path, proto model.Protocol, m *v1alpha1.ICMPMatch) (model.PortMatch, bool) {
	switch {
	case m.Type == nil && m.Code == nil:
		return model.PortMatch{Proto: proto, Lo: 0, Hi: lastPort}, true
	case m.Type == nil:
		t.add(at.Child("code"), "add type, or remove code", "a code means nothing without its type")
		return model.PortMatch{}, false
	case *m.Type < 0 || *m.Type > 255:
		t.add(at.Child("type"), "write 0 to 255", "%d is no ICMP type", *m.Type)
		return model.PortMatch{}, false
	}
	lo := model.Port(*m.Type) << 8
	switch {
	case m.Code == nil:
		return model.PortMatch{Proto: proto, Lo: lo, Hi: lo | 255}, true
	case *m.Code < 0 || *m.Code > 255:
		t.add(at.Child("code"), "write 0 to 255", "%d is no ICMP code", *m.Code)
		return model.PortMatch{}, false
	}
	lo |= model.Port(*m.Code)
	return model.PortMatch{Proto: proto, Lo: lo, Hi: lo}, true
}
