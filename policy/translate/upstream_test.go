package translate

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/policy/model"
)

// compare treats nil and empty slices alike and knows netip's types.
var compare = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func in(key string, values ...string) model.Requirement {
	return model.Requirement{Key: key, Op: model.In, Values: values}
}

func selects(list ...model.Requirement) model.Selector {
	return model.Selector{Requirements: list}
}

var (
	anyone   = []model.Peer{{Kind: model.PeerAny}}
	anything = []model.PortMatch{{Proto: model.ProtoAny}}
)

// pods is a peer of pods in a namespace by name.
func pods(namespace string, list ...model.Requirement) model.Peer {
	return model.Peer{Kind: model.PeerEndpoints, Namespaces: model.NamespaceMatch{Name: namespace}, Labels: selects(list...)}
}

func block(cidr string, except ...string) model.Peer {
	b := model.Block{CIDR: netip.MustParsePrefix(cidr)}
	for _, e := range except {
		b.Except = append(b.Except, netip.MustParsePrefix(e))
	}
	return model.Peer{Kind: model.PeerBlock, Block: b}
}

func tcp(lo, hi model.Port) model.PortMatch {
	return model.PortMatch{Proto: model.ProtoTCP, Lo: lo, Hi: hi}
}

func TestUpstream(t *testing.T) {
	accept := func(name string, peers []model.Peer, ports []model.PortMatch) []model.Rule {
		return []model.Rule{{Name: name, Action: model.ActionAccept, Peers: peers, Ports: ports}}
	}
	for name, tc := range map[string]struct {
		spec string
		want model.Policy // Ref, Tier and Subject's namespace are filled in
	}{
		"empty spec isolates ingress": {
			spec: `{podSelector: {}}`,
			want: model.Policy{IsolateIngress: true},
		},
		"egress rules imply egress": {
			spec: `{podSelector: {}, egress: [{}]}`,
			want: model.Policy{IsolateIngress: true, IsolateEgress: true, Egress: accept("egress-0", anyone, anything)},
		},
		"an empty list of egress rules implies nothing": {
			spec: `{podSelector: {}, egress: []}`,
			want: model.Policy{IsolateIngress: true},
		},
		"policyTypes Egress alone": {
			spec: `{podSelector: {}, policyTypes: [Egress]}`,
			want: model.Policy{IsolateEgress: true},
		},
		"rules of a direction that policyTypes leaves out mean nothing": {
			spec: `{podSelector: {}, policyTypes: [Egress], ingress: [{}]}`,
			want: model.Policy{IsolateEgress: true},
		},
		"empty from and ports are everything": {
			spec: `{podSelector: {}, ingress: [{from: [], ports: []}]}`,
			want: model.Policy{IsolateIngress: true, Ingress: accept("ingress-0", anyone, anything)},
		},
		"subject": {
			spec: `{podSelector: {matchLabels: {b: w, a: x}, matchExpressions: [{key: a, operator: In, values: [z, x, z]}, {key: c, operator: DoesNotExist}]}}`,
			want: model.Policy{IsolateIngress: true, Subject: model.Subject{Labels: selects(
				in("a", "x"), in("a", "x", "z"), in("b", "w"), model.Requirement{Key: "c", Op: model.DoesNotExist})}},
		},
		"podSelector stays in the namespace": {
			spec: `{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}`,
			want: model.Policy{IsolateIngress: true, Ingress: accept("ingress-0", []model.Peer{pods("shop", in("app", "web"))}, anything)},
		},
		"namespaceSelector takes all pods": {
			spec: `{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}`,
			want: model.Policy{IsolateIngress: true, Ingress: accept("ingress-0", []model.Peer{{Kind: model.PeerEndpoints}}, anything)},
		},
		"both selectors must match": {
			spec: `{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: a}}, podSelector: {matchLabels: {app: web}}}]}]}`,
			want: model.Policy{IsolateIngress: true, Ingress: accept("ingress-0", []model.Peer{{
				Kind: model.PeerEndpoints, Namespaces: model.NamespaceMatch{Labels: selects(in("team", "a"))}, Labels: selects(in("app", "web")),
			}}, anything)},
		},
		"blocks, loosely written": {
			spec: `{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 10.010.0.1/16, except: [10.10.9.0/24, 10.10.1.0/24]}}, {ipBlock: {cidr: "::ffff:10.0.0.0/104"}}]}]}`,
			want: model.Policy{IsolateEgress: true, Egress: accept("egress-0",
				[]model.Peer{block("10.10.0.0/16", "10.10.1.0/24", "10.10.9.0/24"), block("10.0.0.0/8")}, anything)},
		},
		"ports": {
			spec: `{podSelector: {}, ingress: [{ports: [{port: 80}, {protocol: UDP, port: 53}, {protocol: SCTP}, {port: 8000, endPort: 8080}, {port: http}, {protocol: UDP, port: dns}]}]}`,
			want: model.Policy{IsolateIngress: true, Ingress: accept("ingress-0", anyone, []model.PortMatch{
				tcp(80, 80),
				{Proto: model.ProtoUDP, Lo: 53, Hi: 53},
				{Proto: model.ProtoSCTP, Lo: 0, Hi: 65535},
				tcp(8000, 8080),
				{Proto: model.ProtoTCP, Name: "http"},
				{Proto: model.ProtoUDP, Name: "dns"},
			})},
		},
		"rules are numbered": {
			spec: `{podSelector: {}, ingress: [{}, {}]}`,
			want: model.Policy{IsolateIngress: true, Ingress: append(accept("ingress-0", anyone, anything), accept("ingress-1", anyone, anything)...)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}}
			if err := yaml.UnmarshalStrict([]byte(tc.spec), &np.Spec); err != nil {
				t.Fatal(err)
			}
			got, err := Upstream(np)
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Ref = model.PolicyRef{Kind: model.KindUpstream, Namespace: "shop", Name: "p"}
			tc.want.Tier = model.TierNamespace
			tc.want.Subject.Namespaces = model.NamespaceMatch{Name: "shop"}
			if d := cmp.Diff(tc.want, got, compare); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestUpstreamRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ spec, want string }{
		"operator":           {`{podSelector: {matchExpressions: [{key: a, operator: Is}]}}`, "netpol/shop/p: spec.podSelector.matchExpressions[0].operator: "},
		"values missing":     {`{podSelector: {matchExpressions: [{key: a, operator: In}]}}`, "spec.podSelector.matchExpressions[0].values: In needs"},
		"values too many":    {`{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [x]}]}}`, "spec.podSelector.matchExpressions[0].values: Exists takes no"},
		"label key":          {`{podSelector: {matchLabels: {"a b": c}}}`, `spec.podSelector.matchLabels: "a b" is no label key`},
		"label value":        {`{podSelector: {matchLabels: {a: "b c"}}}`, `spec.podSelector.matchLabels[a]: "b c" is no label value`},
		"policy type":        {`{podSelector: {}, policyTypes: [Both]}`, "spec.policyTypes[0]: "},
		"empty peer":         {`{podSelector: {}, ingress: [{from: [{}]}]}`, "spec.ingress[0].from[0]: the peer is empty"},
		"block and selector": {`{podSelector: {}, ingress: [{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}]}`, "spec.ingress[0].from[0]: ipBlock stands beside"},
		"CIDR":               {`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}`, `spec.egress[0].to[0].ipBlock.cidr: "10.0.0.0/33" is no CIDR`},
		"except outside":     {`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}`, "spec.egress[0].to[0].ipBlock.except[0]: "},
		"except as large":    {`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]}`, "except[0]: 10.0.0.0/8 does not lie inside"},
		"except of a family": {`{podSelector: {}, egress: [{to: [{ipBlock: {cidr: "::/0", except: [10.0.0.0/8]}}]}]}`, "except[0]: 10.0.0.0/8 does not lie inside"},
		"protocol":           {`{podSelector: {}, ingress: [{ports: [{protocol: ICMP}]}]}`, `spec.ingress[0].ports[0].protocol: "ICMP" is no protocol`},
		"port":               {`{podSelector: {}, ingress: [{ports: [{port: 0}]}]}`, "spec.ingress[0].ports[0].port: 0 is no port"},
		"upside down":        {`{podSelector: {}, ingress: [{ports: [{port: 90, endPort: 80}]}]}`, "spec.ingress[0].ports[0].endPort: the range ends at 80"},
		"endPort of a name":  {`{podSelector: {}, ingress: [{ports: [{port: http, endPort: 80}]}]}`, "spec.ingress[0].ports[0].endPort: port \"http\" is a name"},
		"endPort alone":      {`{podSelector: {}, ingress: [{ports: [{endPort: 80}]}]}`, "spec.ingress[0].ports[0].endPort: there is an endPort"},
		"in an unused rule":  {`{podSelector: {}, policyTypes: [Egress], ingress: [{ports: [{port: 0}]}]}`, "spec.ingress[0].ports[0].port"},
	} {
		t.Run(name, func(t *testing.T) {
			np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}}
			if err := yaml.UnmarshalStrict([]byte(tc.spec), &np.Spec); err != nil {
				t.Fatal(err)
			}
			got, err := Upstream(np)
			refused(t, got, err, tc.want)
		})
	}
}

// refused checks that nothing was translated and that one line says what is wrong.
func refused(t *testing.T, got model.Policy, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("translated: %+v", got)
	}
	if d := cmp.Diff(model.Policy{}, got, compare); d != "" {
		t.Errorf("partly translated: %s", d)
	}
	if text := err.Error(); !strings.Contains(text, want) || strings.Contains(text, "\n") {
		t.Errorf("%q\nnot one line with %q", text, want)
	}
}

func TestEveryProblemIsNamed(t *testing.T) {
	np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "p"}}
	np.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{
		From:  []networkingv1.NetworkPolicyPeer{{}},
		Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromInt32(-1)), Protocol: ptr.To(corev1.Protocol("X"))}},
	}}
	_, err := Upstream(np)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not three lines: %v", err)
	}
}
