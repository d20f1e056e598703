package translate

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

func TestNetworkPolicy(t *testing.T) {
	got, err := NetworkPolicy(read[v1alpha1.NetworkPolicy](t, `
metadata: {name: db, namespace: shop}
spec:
  mode: Audit
  subject: {pods: {matchLabels: {app: db}}}
  isolate: Ingress
  severity: High
  message: only backend
  tags: [pci]
  expiresAt: "2020-01-31T00:00:00Z"
  ingress:
  - name: backend
    action: Accept
    log: true
    from:
    - pods: {podSelector: {matchLabels: {app: backend}}}
    - pods: {podSelector: {}, namespaceSelector: {matchLabels: {team: a}}}
    - namespaces: {matchLabels: {team: b}}
    - nodes: {matchLabels: {zone: z}}
    - externalWorkloads: {selector: {matchLabels: {app: vm}}}
    - ipBlock: {cidr: 10.20.0.0/16, except: [10.20.9.0/24]}
    - networks: [192.0.2.0/24, 198.51.100.0/24]
    - addressGroups: [office, lab]
    - entities: [World, Host]
    protocols:
    - tcp: {destinationPort: {number: 5432}}
    - udp: {destinationPort: {range: {start: 1000, end: 2000}}}
    - sctp: {}
    - icmp: {type: 8}
    - icmpv6: {type: 128, code: 0}
    - icmp: {}
    - destinationNamedPort: postgres
  - {name: nobody, action: Deny}
  egress:
  - {name: backend, action: Deny, to: [], protocols: []}
`))
	if err != nil {
		t.Fatal(err)
	}
	entity := func(e model.Entity) model.Peer { return model.Peer{Kind: model.PeerEntity, Entity: e} }
	group := func(name string) model.Peer { return model.Peer{Kind: model.PeerAddressGroup, Name: name} }
	endpoints := func(kind model.EndpointKind, ns model.NamespaceMatch, labels model.Selector) model.Peer {
		return model.Peer{Kind: model.PeerEndpoints, Endpoint: kind, Namespaces: ns, Labels: labels}
	}
	own := model.NamespaceMatch{Name: "shop"}
	want := model.Policy{
		Ref: model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: "shop", Name: "db"}, Tier: model.TierNamespace, Mode: model.Audit,
		Subject:        model.Subject{Namespaces: own, Labels: selects(in("app", "db"))},
		IsolateIngress: true, Severity: "High", Message: "only backend", Tags: []string{"pci"},
		Ingress: []model.Rule{{
			Name: "backend", Action: model.ActionAccept, Log: true,
			Peers: []model.Peer{
				pods("shop", in("app", "backend")),
				endpoints(model.EndpointPod, model.NamespaceMatch{Labels: selects(in("team", "a"))}, model.Selector{}),
				endpoints(model.EndpointPod, model.NamespaceMatch{Labels: selects(in("team", "b"))}, model.Selector{}),
				endpoints(model.EndpointNode, model.NamespaceMatch{}, selects(in("zone", "z"))),
				endpoints(model.EndpointExternal, own, selects(in("app", "vm"))),
				block("10.20.0.0/16", "10.20.9.0/24"),
				block("192.0.2.0/24"), block("198.51.100.0/24"),
				group("office"), group("lab"),
				entity(model.EntityWorld), entity(model.EntityHost),
			},
			Ports: []model.PortMatch{
				tcp(5432, 5432),
				{Proto: model.ProtoUDP, Lo: 1000, Hi: 2000},
				{Proto: model.ProtoSCTP, Lo: 0, Hi: 65535},
				{Proto: model.ProtoICMP, Lo: 8 << 8, Hi: 8<<8 | 255},
				{Proto: model.ProtoICMPv6, Lo: 128 << 8, Hi: 128 << 8},
				{Proto: model.ProtoICMP, Lo: 0, Hi: 65535},
				{Proto: model.ProtoAny, Name: "postgres"},
			},
		}, {Name: "nobody", Action: model.ActionDeny, Peers: anyone, Ports: anything}},
		Egress: []model.Rule{{Name: "backend", Action: model.ActionDeny, Peers: anyone, Ports: anything}},
	}
	if d := cmp.Diff(want, got, compare); d != "" {
		t.Error(d)
	}
}

func TestExpiryIsReadFromTheCondition(t *testing.T) {
	const text = `
metadata: {name: p, namespace: shop}
spec: {subject: {pods: {}}, isolate: Both, expiresAt: "2020-01-31T00:00:00Z"}
status: {conditions: [{type: Expired, status: "True", reason: Expired, message: "", lastTransitionTime: "2020-01-31T00:00:00Z"}]}
`
	np := read[v1alpha1.NetworkPolicy](t, text)
	if got, err := NetworkPolicy(np); err != nil || !got.Expired {
		t.Errorf("with the condition: expired %v, %v", got.Expired, err)
	}
	np.Status.Conditions[0].Status = "False"
	if got, err := NetworkPolicy(np); err != nil || got.Expired {
		t.Errorf("without the condition: expired %v, %v", got.Expired, err)
	}
}

func TestNetworkPolicyRefuses(t *testing.T) {
	const subject = `subject: {pods: {}}, isolate: None, `
	rule := func(body string) string { return `{` + subject + `egress: [{name: r, action: Accept, ` + body + `}]}` }
	for name, tc := range map[string]struct{ spec, want string }{
		"mode":             {`{subject: {pods: {}}, isolate: None, mode: Idle}`, `pnp/shop/p: spec.mode: "Idle" is no mode`},
		"no isolate":       {`{subject: {pods: {}}}`, "spec.isolate: it is missing"},
		"no subject":       {`{subject: {}, isolate: Both}`, "spec.subject: it has exactly one"},
		"two subjects":     {`{subject: {pods: {}, externalWorkloads: {}}, isolate: Both}`, "spec.subject: it has exactly one"},
		"pass":             {`{` + subject + `ingress: [{name: r, action: Pass}]}`, `spec.ingress[0].action: "Pass" is no action of a NetworkPolicy`},
		"rule name":        {`{` + subject + `ingress: [{name: R_1, action: Deny}]}`, `spec.ingress[0].name: "R_1" is no DNS label`},
		"same name":        {`{` + subject + `ingress: [{name: r, action: Deny}, {name: r, action: Accept}]}`, "spec.ingress[1].name: another rule"},
		"empty peer":       {rule(`to: [{}]`), "spec.egress[0].to[0]: a peer has exactly one"},
		"two in a peer":    {rule(`to: [{nodes: {}, networks: [10.0.0.0/8]}]`), "spec.egress[0].to[0]: a peer has exactly one"},
		"host bits":        {rule(`to: [{networks: [10.0.0.1/8]}]`), "spec.egress[0].to[0].networks[0]: \"10.0.0.1/8\" has bits set after the prefix length: write 10.0.0.0/8"},
		"leading zero":     {rule(`to: [{ipBlock: {cidr: 010.0.0.0/8}}]`), "spec.egress[0].to[0].ipBlock.cidr: \"010.0.0.0/8\" is no CIDR"},
		"entity":           {rule(`to: [{entities: [Moon]}]`), `spec.egress[0].to[0].entities[0]: "Moon" is no entity`},
		"empty protocol":   {rule(`protocols: [{}]`), "spec.egress[0].protocols[0]: a protocol has exactly one"},
		"two protocols":    {rule(`protocols: [{tcp: {}, udp: {}}]`), "spec.egress[0].protocols[0]: a protocol has exactly one"},
		"number and range": {rule(`protocols: [{tcp: {destinationPort: {number: 1, range: {start: 1, end: 2}}}}]`), "spec.egress[0].protocols[0].tcp.destinationPort: it has exactly one"},
		"upside down":      {rule(`protocols: [{tcp: {destinationPort: {range: {start: 3, end: 2}}}}]`), "destinationPort.range.end: the range ends at 2"},
		"code alone":       {rule(`protocols: [{icmp: {code: 1}}]`), "spec.egress[0].protocols[0].icmp.code: "},
		"ICMP type":        {rule(`protocols: [{icmp: {type: 300}}]`), "spec.egress[0].protocols[0].icmp.type: 300"},
		"name of a range":  {rule(`to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: http}]`), "spec.egress[0].protocols[0].destinationNamedPort: a peer of the rule has no named ports"},
		"name of a node":   {rule(`to: [{nodes: {}}], protocols: [{destinationNamedPort: http}]`), "has no named ports"},
		"name of World":    {rule(`to: [{entities: [World]}], protocols: [{destinationNamedPort: http}]`), "has no named ports"},
	} {
		t.Run(name, func(t *testing.T) {
			np := &v1alpha1.NetworkPolicy{Spec: *read[v1alpha1.NetworkPolicySpec](t, tc.spec)}
			np.Namespace, np.Name = "shop", "p"
			got, err := NetworkPolicy(np)
			refused(t, got, err, tc.want)
		})
	}
}

func TestClusterwidePolicy(t *testing.T) {
	for name, tc := range map[string]struct {
		subject string
		want    model.Subject
	}{
		"namespaces": {`{namespaces: {matchLabels: {restricted: "true"}}}`, model.Subject{Namespaces: model.NamespaceMatch{Labels: selects(in("restricted", "true"))}}},
		"pods":       {`{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: x}}}}`, model.Subject{Labels: selects(in("app", "x"))}},
		"external workloads": {`{externalWorkloads: {namespaceSelector: {matchLabels: {a: b}}, selector: {}}}`,
			model.Subject{Kind: model.EndpointExternal, Namespaces: model.NamespaceMatch{Labels: selects(in("a", "b"))}}},
	} {
		t.Run(name, func(t *testing.T) {
			cwp := read[v1alpha1.ClusterwidePolicy](t, `
metadata: {name: no-metadata}
spec:
  tier: Admin
  priority: 10
  subject: `+tc.subject+`
  ingress:
  - {name: all, action: Deny, from: [{pods: {namespaceSelector: {}, podSelector: {}}}]}
  egress:
  - {name: metadata-service, action: Deny, to: [{networks: [169.254.169.254/32]}]}
  - {name: rest, action: Pass, to: [{entities: [World]}]}
`)
			got, err := ClusterwidePolicy(cwp)
			if err != nil {
				t.Fatal(err)
			}
			want := model.Policy{
				Ref: model.PolicyRef{Kind: model.KindClusterwide, Name: "no-metadata"}, Tier: model.TierAdmin, Priority: 10, Subject: tc.want,
				Ingress: []model.Rule{{Name: "all", Action: model.ActionDeny, Peers: []model.Peer{{Kind: model.PeerEndpoints}}, Ports: anything}},
				Egress: []model.Rule{
					{Name: "metadata-service", Action: model.ActionDeny, Peers: []model.Peer{block("169.254.169.254/32")}, Ports: anything},
					{Name: "rest", Action: model.ActionPass, Peers: []model.Peer{{Kind: model.PeerEntity, Entity: model.EntityWorld}}, Ports: anything},
				},
			}
			if d := cmp.Diff(want, got, compare); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestClusterwidePolicyRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ spec, want string }{
		"tier":                 {`{tier: Namespace, priority: 1, subject: {namespaces: {}}}`, `cwp/p: spec.tier: "Namespace" is no tier`},
		"priority":             {`{tier: Admin, priority: 1001, subject: {namespaces: {}}}`, "cwp/p: spec.priority: 1001"},
		"two subjects":         {`{tier: Admin, priority: 1, subject: {namespaces: {}, pods: {namespaceSelector: {}, podSelector: {}}}}`, "cwp/p: spec.subject: "},
		"action":               {`{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{name: r, action: Allow}]}`, `cwp/p: spec.ingress[0].action: "Allow" is no action: write Accept, Deny or Pass`},
		"no namespaceSelector": {`{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{name: r, action: Deny, from: [{pods: {podSelector: {}}}]}]}`, "cwp/p: spec.ingress[0].from[0].pods.namespaceSelector: "},
	} {
		t.Run(name, func(t *testing.T) {
			cwp := &v1alpha1.ClusterwidePolicy{Spec: *read[v1alpha1.ClusterwidePolicySpec](t, tc.spec)}
			cwp.Name = "p"
			got, err := ClusterwidePolicy(cwp)
			refused(t, got, err, tc.want)
		})
	}
}
