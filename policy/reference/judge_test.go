package reference_test

import (
	"net/netip"
	"testing"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
)

// What the corpus of test/corpus cannot say, since no manifest can: values of the
// model that translating never makes, and ends at the edge of what there is.
func TestJudge(t *testing.T) {
	var (
		a    = netip.MustParseAddr("10.0.0.1")
		b    = netip.MustParseAddr("10.0.0.2")
		any  = []model.Peer{{Kind: model.PeerAny}}
		all  = []model.PortMatch{{Proto: model.ProtoAny}}
		node = model.Endpoint{ID: model.EndpointID{Kind: model.EndpointNode, Name: "n"}, Node: "n", Addresses: []netip.Addr{b}}
		pod  = model.Endpoint{ID: model.EndpointID{Namespace: "s", Name: "p"}, Addresses: []netip.Addr{a}, Node: "n"}
	)
	policy := func(rules ...model.Rule) model.Policy {
		return model.Policy{
			Ref: model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: "s", Name: "q"}, Tier: model.TierNamespace,
			Subject: model.Subject{Namespaces: model.NamespaceMatch{Name: "s"}}, IsolateEgress: true, Egress: rules,
		}
	}
	for name, tc := range map[string]struct {
		endpoints []model.Endpoint
		policies  []model.Policy
		conn      model.Connection
		want      string // the rule of egress
	}{
		"a rule without peers matches nobody":     {[]model.Endpoint{pod}, []model.Policy{policy(model.Rule{Name: "x", Action: model.ActionAccept, Ports: all})}, model.Connection{From: a, To: b, Proto: 6, Port: 1}, "(isolated)"},
		"a rule without ports matches nothing":    {[]model.Endpoint{pod}, []model.Policy{policy(model.Rule{Name: "x", Action: model.ActionAccept, Peers: any})}, model.Connection{From: a, To: b, Proto: 6, Port: 1}, "(isolated)"},
		"port 0 is a port":                        {[]model.Endpoint{pod}, []model.Policy{policy(model.Rule{Name: "x", Action: model.ActionAccept, Peers: any, Ports: []model.PortMatch{{Proto: 6}}})}, model.Connection{From: a, To: b, Proto: 6}, "x"},
		"a prefix of no bits is its whole family": {[]model.Endpoint{pod}, []model.Policy{policy(model.Rule{Name: "x", Action: model.ActionAccept, Ports: all, Peers: []model.Peer{{Kind: model.PeerBlock, Block: model.Block{CIDR: netip.MustParsePrefix("0.0.0.0/0")}}}})}, model.Connection{From: a, To: b, Proto: 6}, "x"},
		"and not the other family":                {[]model.Endpoint{pod}, []model.Policy{policy(model.Rule{Name: "x", Action: model.ActionAccept, Ports: all, Peers: []model.Peer{{Kind: model.PeerBlock, Block: model.Block{CIDR: netip.MustParsePrefix("::/0")}}}})}, model.Connection{From: a, To: b, Proto: 6}, "(isolated)"},
		"a namespace that is not listed has no labels": {[]model.Endpoint{pod}, []model.Policy{{
			Ref: model.PolicyRef{Kind: model.KindClusterwide, Name: "w"}, Tier: model.TierAdmin, Subject: model.Subject{},
			Egress: []model.Rule{{Name: "x", Action: model.ActionDeny, Peers: any, Ports: all}},
		}}, model.Connection{From: a, To: b, Proto: 6}, "x"},
		"a node is nobody, to itself too": {[]model.Endpoint{node}, nil, model.Connection{From: b, To: b, Proto: 6}, "(no-subject)"},
		"nobody to nobody":                {nil, nil, model.Connection{From: a, To: b, Proto: 6}, "(no-subject)"},
		"no policy":                       {[]model.Endpoint{pod}, nil, model.Connection{From: a, To: b, Proto: 6}, "(default)"},
	} {
		t.Run(name, func(t *testing.T) {
			c := model.Cluster{Endpoints: tc.endpoints, Policies: tc.policies}
			if have := reference.Judge(c, tc.conn).Egress.Enforced.By.Rule; have != tc.want {
				t.Errorf("decided by %s, want %s", have, tc.want)
			}
		})
	}
}
