package translate

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/policy/model"
)

// Upstream translates a NetworkPolicy of networking.k8s.io/v1. Its rules have
// no names; they are called ingress-0, ingress-1, …, egress-0, … after their
// place.
func Upstream(np *networkingv1.NetworkPolicy) (model.Policy, error) {
	out := model.Policy{
		Ref:  model.PolicyRef{Kind: model.KindUpstream, Namespace: np.Namespace, Name: np.Name},
		Tier: model.TierNamespace,
	}
	p := &problems{object: out.Ref.String()}
	spec := field.NewPath("spec")
	out.Subject = model.Subject{
		Kind:       model.EndpointPod,
		Namespaces: model.NamespaceMatch{Name: np.Namespace},
		Labels:     p.selector(spec.Child("podSelector"), &np.Spec.PodSelector),
	}
	out.IsolateIngress, out.IsolateEgress = p.policyTypes(spec.Child("policyTypes"), &np.Spec)
	// Rules of a direction that policyTypes leaves out mean nothing; they are
	// read all the same, so that a mistake in them is found.
	for i, r := range np.Spec.Ingress {
		at := spec.Child("ingress").Index(i)
		rule := p.upstreamRule(at, at.Child("from"), np.Namespace, r.From, r.Ports)
		rule.Name = fmt.Sprintf("ingress-%d", i)
		if out.IsolateIngress {
			out.Ingress = append(out.Ingress, rule)
		}
	}
	for i, r := range np.Spec.Egress {
		at := spec.Child("egress").Index(i)
		rule := p.upstreamRule(at, at.Child("to"), np.Namespace, r.To, r.Ports)
		rule.Name = fmt.Sprintf("egress-%d", i)
		if out.IsolateEgress {
			out.Egress = append(out.Egress, rule)
		}
	}
	if err := p.err(); err != nil {
		return model.Policy{}, err
	}
	return out, nil
}

// policyTypes says which directions a policy is about: as listed, else ingress
// always and egress if it has egress rules.
func (p *problems) policyTypes(at *field.Path, spec *networkingv1.NetworkPolicySpec) (ingress, egress bool) {
	if len(spec.PolicyTypes) == 0 {
		return true, len(spec.Egress) > 0
	}
	for i, t := range spec.PolicyTypes {
		if t != networkingv1.PolicyTypeIngress && t != networkingv1.PolicyTypeEgress {
			p.add(at.Index(i), "write Ingress or Egress", "%q is no policy type", t)
		}
	}
	return slices.Contains(spec.PolicyTypes, networkingv1.PolicyTypeIngress),
		slices.Contains(spec.PolicyTypes, networkingv1.PolicyTypeEgress)
}

func (p *problems) upstreamRule(at, peersAt *field.Path, namespace string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) model.Rule {
	rule := model.Rule{Action: model.ActionAccept}
	for i := range peers {
		if peer, ok := p.upstreamPeer(peersAt.Index(i), namespace, &peers[i]); ok {
			rule.Peers = append(rule.Peers, peer)
		}
	}
	if len(peers) == 0 {
		rule.Peers = []model.Peer{{Kind: model.PeerAny}}
	}
	for i := range ports {
		if m, ok := p.upstreamPort(at.Child("ports").Index(i), &ports[i]); ok {
			rule.Ports = append(rule.Ports, m)
		}
	}
	if len(ports) == 0 {
		rule.Ports = []model.PortMatch{{Proto: model.ProtoAny}}
	}
	return rule
}

func (p *problems) upstreamPeer(at *field.Path, namespace string, peer *networkingv1.NetworkPolicyPeer) (model.Peer, bool) {
	selects := peer.PodSelector != nil || peer.NamespaceSelector != nil
	switch {
	case peer.IPBlock != nil && selects:
		p.add(at, "split it into two peers", "ipBlock stands beside a selector")
		return model.Peer{}, false
	case peer.IPBlock != nil:
		return p.block(at.Child("ipBlock"), peer.IPBlock.CIDR, peer.IPBlock.Except, p.looseCIDR)
	case !selects:
		p.add(at, "add podSelector, namespaceSelector or ipBlock, or leave the list out to match every peer", "the peer is empty")
		return model.Peer{}, false
	}
	out := model.Peer{Kind: model.PeerEndpoints, Endpoint: model.EndpointPod, Namespaces: model.NamespaceMatch{Name: namespace}}
	if peer.PodSelector != nil {
		out.Labels = p.selector(at.Child("podSelector"), peer.PodSelector)
	}
	if peer.NamespaceSelector != nil {
		out.Namespaces = model.NamespaceMatch{Labels: p.selector(at.Child("namespaceSelector"), peer.NamespaceSelector)}
	}
	return out, true
}

func (p *problems) upstreamPort(at *field.Path, port *networkingv1.NetworkPolicyPort) (model.PortMatch, bool) {
	m := model.PortMatch{Proto: model.ProtoTCP, Lo: 0, Hi: lastPort}
	ok := true
	if port.Protocol != nil {
		m.Proto, ok = p.transport(at.Child("protocol"), *port.Protocol)
	}
	switch {
	case port.Port == nil && port.EndPort != nil:
		p.add(at.Child("endPort"), "add port, or remove endPort", "there is an endPort and no port")
		return m, false
	case port.Port == nil:
		return m, ok
	case port.Port.Type == intstr.String:
		if port.EndPort != nil {
			p.add(at.Child("endPort"), "write the port as a number, or remove endPort", "port %q is a name", port.Port.StrVal)
			return m, false
		}
		if port.Port.StrVal == "" {
			p.add(at.Child("port"), "write a name or a number", "the name is empty")
			return m, false
		}
		return model.PortMatch{Proto: m.Proto, Name: port.Port.StrVal}, ok
	}
	end := port.Port.IntVal
	if port.EndPort != nil {
		end = *port.EndPort
	}
	return p.portRange(at.Child("port"), at.Child("endPort"), m.Proto, port.Port.IntVal, end, ok)
}

// transport translates a protocol as core kinds spell it.
func (p *problems) transport(at *field.Path, name corev1.Protocol) (model.Protocol, bool) {
	switch name {
	case corev1.ProtocolTCP:
		return model.ProtoTCP, true
	case corev1.ProtocolUDP:
		return model.ProtoUDP, true
	case corev1.ProtocolSCTP:
		return model.ProtoSCTP, true
	}
	p.add(at, "write TCP, UDP or SCTP", "%q is no protocol", name)
	return 0, false
}

const lastPort = 65535

// portRange translates the numeric ports first to last. ok says whether the rest
// of the entry was good.
func (p *problems) portRange(first, last *field.Path, proto model.Protocol, lo, hi int32, ok bool) (model.PortMatch, bool) {
	switch {
	case lo < 1 || lo > lastPort:
		p.add(first, "write 1 to 65535", "%d is no port", lo)
	case hi < 1 || hi > lastPort:
		p.add(last, "write 1 to 65535", "%d is no port", hi)
	case hi < lo:
		p.add(last, "swap the two", "the range ends at %d, below its start %d", hi, lo)
	default:
		return model.PortMatch{Proto: proto, Lo: model.Port(lo), Hi: model.Port(hi)}, ok
	}
	return model.PortMatch{}, false
}
