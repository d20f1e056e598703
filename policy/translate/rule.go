package translate

import (
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// ruleText is a rule of any of our four rule types, which differ in names only.
type ruleText struct {
	name      v1alpha1.RuleName
	action    v1alpha1.Action
	list      string // from or to
	peers     []v1alpha1.Peer
	protocols []v1alpha1.Protocol
	log       bool
}

func (t *policyTranslator) rule(at *field.Path, text ruleText) model.Rule {
	r := model.Rule{Name: string(text.name), Log: text.log, Action: t.action(at.Child("action"), text.action)}
	if len(validation.IsDNS1123Label(r.Name)) > 0 {
		t.add(at.Child("name"), "write lower-case letters, digits and '-', for example backend-to-db", "%q is no DNS label", r.Name)
	}
	for i := range text.peers {
		r.Peers = append(r.Peers, t.peer(at.Child(text.list).Index(i), &text.peers[i])...)
	}
	if len(text.peers) == 0 {
		r.Peers = []model.Peer{{Kind: model.PeerAny}}
	}
	for i := range text.protocols {
		where := at.Child("protocols").Index(i)
		r.Ports = append(r.Ports, t.protocol(where, &text.protocols[i])...)
		if text.list == "to" && text.protocols[i].DestinationNamedPort != "" {
			t.peersWithPorts(where.Child("destinationNamedPort"), r.Peers)
		}
	}
	if len(text.protocols) == 0 {
		r.Ports = []model.PortMatch{{Proto: model.ProtoAny}}
	}
	return r
}

func (t *policyTranslator) action(at *field.Path, a v1alpha1.Action) model.Action {
	switch {
	case a == v1alpha1.ActionAccept:
		return model.ActionAccept
	case a == v1alpha1.ActionDeny:
		return model.ActionDeny
	case a == v1alpha1.ActionPass && t.clusterwide:
		return model.ActionPass
	case t.clusterwide:
		t.add(at, "write Accept, Deny or Pass", "%q is no action", a)
	default:
		t.add(at, "write Accept or Deny", "%q is no action of a NetworkPolicy", a)
	}
	return model.ActionDeny
}

// uniqueNames sees to it that a verdict can name the rule that decided.
func (t *policyTranslator) uniqueNames(at *field.Path, rules []model.Rule) {
	seen := map[string]bool{}
	for i, r := range rules {
		if seen[r.Name] {
			t.add(at.Index(i).Child("name"), "rename one, so that a verdict can name the rule that decided", "another rule is called %q too", r.Name)
		}
		seen[r.Name] = true
	}
}

// peersWithPorts refuses peers that have no named ports beside a named port.
func (t *policyTranslator) peersWithPorts(at *field.Path, peers []model.Peer) {
	for _, p := range peers {
		switch {
		case p.Kind == model.PeerEndpoints && p.Endpoint == model.EndpointNode,
			p.Kind == model.PeerBlock, p.Kind == model.PeerAddressGroup,
			p.Kind == model.PeerEntity && p.Entity != model.EntityCluster:
			t.add(at, "use a port number, or move nodes, ranges and the entities World, Host and APIServer to a rule of their own", "a peer of the rule has no named ports")
			return
		}
	}
}

// peer translates one peer; networks, groups and entities become several.
func (t *policyTranslator) peer(at *field.Path, p *v1alpha1.Peer) []model.Peer {
	var out []model.Peer
	set := 0
	if p.Namespaces != nil {
		set++
		out = append(out, model.Peer{Kind: model.PeerEndpoints, Endpoint: model.EndpointPod, Namespaces: t.namespaces(at.Child("namespaces"), p.Namespaces)})
	}
	if p.Pods != nil {
		set++
		out = append(out, t.endpoints(at.Child("pods"), model.EndpointPod, p.Pods.NamespaceSelector, "podSelector", &p.Pods.PodSelector))
	}
	if p.Nodes != nil {
		set++
		out = append(out, model.Peer{Kind: model.PeerEndpoints, Endpoint: model.EndpointNode, Labels: t.selector(at.Child("nodes"), p.Nodes.Meta())})
	}
	if p.ExternalWorkloads != nil {
		set++
		out = append(out, t.endpoints(at.Child("externalWorkloads"), model.EndpointExternal, p.ExternalWorkloads.NamespaceSelector, "selector", &p.ExternalWorkloads.Selector))
	}
	if p.IPBlock != nil {
		set++
		if b, ok := t.block(at.Child("ipBlock"), string(p.IPBlock.CIDR), texts(p.IPBlock.Except), t.cidr); ok {
			out = append(out, b)
		}
	}
	if len(p.Networks) > 0 {
		set++
		for i, s := range p.Networks {
			if c, ok := t.cidr(at.Child("networks").Index(i), string(s)); ok {
				out = append(out, model.Peer{Kind: model.PeerBlock, Block: model.Block{CIDR: c}})
			}
		}
	}
	if len(p.AddressGroups) > 0 {
		set++
		for i, name := range p.AddressGroups {
			if name == "" {
				t.add(at.Child("addressGroups").Index(i), "write the name of an AddressGroup", "the name is empty")
			}
			out = append(out, model.Peer{Kind: model.PeerAddressGroup, Name: string(name)})
		}
	}
	if len(p.Entities) > 0 {
		set++
		for i, e := range p.Entities {
			out = append(out, model.Peer{Kind: model.PeerEntity, Entity: t.entity(at.Child("entities").Index(i), e)})
		}
	}
	if set != 1 {
		t.add(at, "split two into two peers, remove an empty peer, and leave the list out to match every peer",
			"a peer has exactly one of namespaces, pods, nodes, externalWorkloads, ipBlock, networks, addressGroups, entities")
	}
	return out
}

func (t *policyTranslator) endpoints(at *field.Path, kind model.EndpointKind, namespaces *v1alpha1.LabelSelector, labelsName string, labels *v1alpha1.LabelSelector) model.Peer {
	out := model.Peer{Kind: model.PeerEndpoints, Endpoint: kind, Labels: t.selector(at.Child(labelsName), labels.Meta())}
	switch {
	case namespaces != nil:
		out.Namespaces = t.namespaces(at.Child("namespaceSelector"), namespaces)
	case t.clusterwide:
		t.add(at.Child("namespaceSelector"), "add it, {} for every namespace", "a ClusterwidePolicy has no namespace of its own")
	default:
		out.Namespaces = model.NamespaceMatch{Name: t.namespace}
	}
	return out
}

func (t *policyTranslator) entity(at *field.Path, e v1alpha1.Entity) model.Entity {
	switch e {
	case v1alpha1.EntityCluster:
		return model.EntityCluster
	case v1alpha1.EntityWorld:
		return model.EntityWorld
	case v1alpha1.EntityHost:
		return model.EntityHost
	case v1alpha1.EntityAPIServer:
		return model.EntityAPIServer
	}
	t.add(at, "write Cluster, World, Host or APIServer", "%q is no entity", e)
	return model.EntityCluster
}

func texts[S ~string](list []S) []string {
	var out []string
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}
