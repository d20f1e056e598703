package webhooks

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/webhooks/rules"
)

const systemNamespace = "palisade-system"

// testSystem is a controller pod on node n1, and an agent on each of n1 and n2.
func testSystem() System {
	node := func(name, address string) model.Endpoint {
		return model.Endpoint{
			ID: model.EndpointID{Kind: model.EndpointNode, Name: name}, Node: model.NodeName(name),
			Addresses: []netip.Addr{netip.MustParseAddr(address)},
		}
	}
	controller := model.Endpoint{
		ID:        model.EndpointID{Kind: model.EndpointPod, Namespace: systemNamespace, Name: "controller"},
		Labels:    map[string]string{"app": "controller", nameLabel: "palisade-controller", SystemLabel: SystemLabelValue},
		Node:      "n1",
		Addresses: []netip.Addr{netip.MustParseAddr("10.244.1.2")},
		Ports: []model.NamedPort{
			{Name: "stream", Proto: model.ProtoTCP, Port: 9443},
			{Name: "metrics", Proto: model.ProtoTCP, Port: 8080},
		},
	}
	agent := func(node model.NodeName) model.Endpoint {
		return model.Endpoint{
			ID:     model.EndpointID{Kind: model.EndpointPod, Namespace: systemNamespace, Name: "agent-" + string(node)},
			Labels: map[string]string{nameLabel: "palisade-nodeagent", SystemLabel: SystemLabelValue},
			Node:   node, HostNetwork: true,
		}
	}
	pods := []model.Endpoint{controller, agent("n1"), agent("n2")}
	nodes := []model.Endpoint{node("n1", "10.90.0.11"), node("n2", "10.90.0.12")}
	wanted := needs(pods, nodes, []netip.AddrPort{netip.MustParseAddrPort("10.90.0.1:6443")})
	return System{
		Cluster: model.Cluster{
			Namespaces: []model.Namespace{{Name: systemNamespace, Labels: map[string]string{"kubernetes.io/metadata.name": systemNamespace}}},
			Endpoints:  slices.Concat(pods, nodes),
		},
		Needs: wanted,
		Acts:  acts(pods, wanted),
	}
}

// TestShippedRules judges policies by the shipped rules through the built-ins.
func TestShippedRules(t *testing.T) {
	accepting := isolating(systemNamespace, "p")
	accepting.Spec.Ingress = []v1alpha1.NetworkPolicyIngressRule{{Name: "nodes", Action: v1alpha1.ActionAccept, From: []v1alpha1.Peer{
		{Nodes: &v1alpha1.LabelSelector{}}, {IPBlock: &v1alpha1.IPBlock{CIDR: "10.90.0.0/24"}},
	}}}
	accepting.Spec.Egress = []v1alpha1.NetworkPolicyEgressRule{{Name: "all", Action: v1alpha1.ActionAccept}}
	ingressOnly := isolating(systemNamespace, "p")
	ingressOnly.Spec.Isolate = v1alpha1.IsolateIngress
	team := labelled("team", "a")
	audit := isolating(systemNamespace, "p")
	audit.Spec.Mode = v1alpha1.ModeAudit

	shop := model.Namespace{Name: "shop", Labels: map[string]string{"team": "a"}}
	kube := model.Namespace{Name: "kube-system", Labels: map[string]string{"team": "a", "kubernetes.io/metadata.name": "kube-system"}}
	ofShop := labelled("app", "db")
	inBin := noShell("shop", "p", ofShop)
	inBin.Spec.Executables = killing("/bin/dash")
	allowList := noShell("shop", "p", ofShop)
	allowList.Spec.Executables = &v1alpha1.ExecutableSection{Default: v1alpha1.ActionDeny}
	both := noShell("shop", "p", ofShop)
	both.Spec.Executables.Rules = append(both.Spec.Executables.Rules, v1alpha1.ExecutableRule{
		RuntimeRule: v1alpha1.RuntimeRule{Name: "mine", Action: v1alpha1.ActionAccept},
		PathMatch:   v1alpha1.PathMatch{Paths: []v1alpha1.Path{"/usr/bin/dash"}},
	})
	everything := noShell("shop", "p", ofShop)
	everything.Spec.Executables.Rules[0].PathMatch = v1alpha1.PathMatch{}

	ending := isolating("shop", "p")
	ending.Spec.Subject.Pods = &ofShop
	ending.Spec.ExpiresAt = &metav1.Time{Time: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}

	tests := map[string]struct {
		object   any
		others   []v1alpha1.ClusterwidePolicy
		in       []model.Namespace
		estimate Estimate
		refused  string // part of the only refusal
		warns    string // part of the only warning
	}{
		"isolating another namespace": {object: isolating("shop", "p"), warns: "rule 17 (a subject that is the whole namespace): spec.subject.pods: "},
		"isolating the policy system": {
			object:  ingressOnly,
			refused: "rule 37 (the policy system is cut off): spec.isolate: (isolated) of pnp/palisade-system/p denies ",
			warns:   "rule 17",
		},
		"isolating it, with what it needs accepted": {object: accepting, warns: "rule 17"},
		"isolating it, in Audit":                    {object: audit, warns: "rule 17"},
		"denying by namespace label, elsewhere":     {object: denying("p", labelled("team", "a"))},
		"denying by namespace label, the system": {
			object:  denying("p", labelled("kubernetes.io/metadata.name", systemNamespace)),
			refused: "rule 37 (the policy system is cut off): spec.ingress: all of cwp/p denies ",
		},
		"two that overlap": {
			object: denying("p", labelled("team", "a")),
			others: []v1alpha1.ClusterwidePolicy{*denying("q", labelled("stage", "prod"))},
			warns:  "rule 18 (clusterwide policies of one tier and priority overlap): spec.priority: cwp/q has the same",
		},
		"two that do not overlap": {
			object: denying("p", labelled("team", "a")),
			others: []v1alpha1.ClusterwidePolicy{*denying("q", labelled("team", "b"))},
		},
		"runtime of a whole namespace": {
			object: noShell("shop", "p", v1alpha1.LabelSelector{}),
			warns:  "rule 17 (a subject that is the whole namespace): spec.subject.pods: ",
		},
		"runtime of some pods": {object: noShell("shop", "p", labelled("app", "db"))},
		"runtime of every node": {
			object:  observing(onlyRuntime("p", v1alpha1.ClusterwidePolicySubject{Nodes: &v1alpha1.LabelSelector{}})),
			refused: "rule 17 (a subject that is everybody needs an opt-in): spec.subject.nodes: ",
		},
		"a kill of some nodes": {
			object:  onlyRuntime("p", v1alpha1.ClusterwidePolicySubject{Nodes: &team}),
			refused: "rule 53 (a kill where the cluster itself runs): spec.runtime: a rule kills processes of nodes: ",
			warns:   "rule 54 (a clusterwide kill that was never in Audit): spec.runtime.executables: rule shell kills",
		},
		"a kill by a label that the cluster's own have": {
			object:  onlyRuntime("p", v1alpha1.ClusterwidePolicySubject{Namespaces: &team}),
			in:      []model.Namespace{shop, kube},
			refused: "rule 53 (a kill where the cluster itself runs): spec.runtime: a rule kills processes of namespace kube-system: ",
			warns:   "rule 54",
		},
		"a kill by a label that others have": {
			object: onlyRuntime("p", v1alpha1.ClusterwidePolicySubject{Namespaces: &team}),
			in:     []model.Namespace{shop, {Name: "kube-system"}},
			warns:  "rule 54",
		},
		"a kill in Kubernetes' own": {
			object:  noShell("kube-system", "p", ofShop),
			refused: "rule 53 (a kill where the cluster itself runs): spec: a rule kills processes of namespace kube-system: ",
		},
		"a path through a link": {
			object: inBin,
			warns:  "rule 49 (a path through a link): spec.executables.rules[shell].paths: /bin/dash: /bin is a link in most images, and rules hold for where links lead: name /usr/bin/dash too",
		},
		"an allow-list of nothing": {object: allowList, warns: "rule 51 (an allow-list that lets nothing start): spec.executables.default: "},
		"one path accepted and killed": {
			object:  both,
			refused: "rule 58 (one path both accepted and denied): spec.executables.rules[mine].paths: /usr/bin/dash is accepted here, and rule shell of the same policy has Kill for it",
		},
		"a kill of everything": {object: everything, warns: "rule 55 (a kill on what everybody does): spec.executables.rules[shell]: it kills whoever executes anything"},
		"two that overlap, one about runtime": {
			object: observing(onlyRuntime("p", v1alpha1.ClusterwidePolicySubject{Namespaces: &team})),
			others: []v1alpha1.ClusterwidePolicy{*denying("q", labelled("stage", "prod"))},
		},
		"two that overlap, the other about runtime": {
			object: denying("p", team),
			others: []v1alpha1.ClusterwidePolicy{*onlyRuntime("q", v1alpha1.ClusterwidePolicySubject{Namespaces: &team})},
		},
		"an isolation with an end": {
			object: ending, warns: "rule 63 (a denial with an end): spec.expiresAt: from 2027-01-31T00:00:00Z on nothing of this policy denies what egress/(isolated), ingress/(isolated) does now",
		},
		"runtime over budget": {
			object: noShell("shop", "p", labelled("app", "db")), estimate: Estimate{Refused: "65 paths in from"},
			refused: "rule 30 (the compiled policy exceeds its budget): spec: 65 paths in from: ",
		},
		"over budget": {
			object: denying("p", labelled("team", "a")), estimate: Estimate{Entries: 300, Budget: 200},
			refused: "rule 30 (the compiled policy exceeds its budget): spec: it compiles to 300 entries, the budget is 200: ",
		},
		"refused by the compiler": {
			object: denying("p", labelled("team", "a")), estimate: Estimate{Refused: "peer sets multiply to 70000"},
			refused: "spec: peer sets multiply to 70000: ",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, rules.Modules(), &fakeCluster{clusterwide: tc.others, namespaces: tc.in, system: testSystem(), estimate: tc.estimate})
			verdict, err := e.Judge(t.Context(), policyRequest(t, tc.object))
			if err != nil {
				t.Fatal(err)
			}
			expectOne(t, "refusal", verdict.Refused, tc.refused)
			expectOne(t, "warning", verdict.Warnings, tc.warns)
		})
	}
}

func TestEverybodyNeedsAnOptIn(t *testing.T) {
	e := newEngine(t, rules.Modules(), &fakeCluster{})
	everybody := denying("p", v1alpha1.LabelSelector{})
	verdict, err := e.Judge(t.Context(), policyRequest(t, everybody))
	if err != nil {
		t.Fatal(err)
	}
	expectOne(t, "refusal", verdict.Refused, `annotate the policy with policy.palisade.dev/allow-all-subjects: "true"`)

	everybody.Annotations = map[string]string{"policy.palisade.dev/allow-all-subjects": "true"}
	if verdict, err = e.Judge(t.Context(), policyRequest(t, everybody)); err != nil {
		t.Fatal(err)
	}
	expectOne(t, "refusal", verdict.Refused, "")
}

// A system that is cut off already is not the fault of the next policy.
func TestCutsAreNewOnes(t *testing.T) {
	system := testSystem()
	cutting, err := translateObject(v1alpha1.KindNetworkPolicy, raw(t, isolating(systemNamespace, "p")))
	if err != nil {
		t.Fatal(err)
	}
	found, _ := cuts(system, cutting, always)
	if len(found) == 0 {
		t.Fatal("isolating the system cuts nothing")
	}
	for _, c := range found {
		if strings.Contains(c.What, "8080") {
			t.Errorf("%v: metrics are no need", c)
		}
	}
	system.Cluster.Policies = []model.Policy{cutting}
	other := cutting
	other.Ref.Name = "q"
	if again, _ := cuts(system, other, always); len(again) != 0 {
		t.Errorf("cut by another policy already, and blamed again: %v", again)
	}
}

// Whether a rule was observed before it kills, the object that was there tells.
func TestKillsAfterAudit(t *testing.T) {
	team := labelled("team", "a")
	e := newEngine(t, rules.Modules(), &fakeCluster{})
	killing := onlyRuntime("p", v1alpha1.ClusterwidePolicySubject{Namespaces: &team})
	other := killing.DeepCopy()
	other.Spec.Runtime.Executables.Rules[0].Name = "other"
	for name, tc := range map[string]struct {
		old   any
		warns string
	}{
		"observed":            {old: observing(killing)},
		"killed before":       {old: killing},
		"another was there":   {old: other, warns: "rule shell kills, and was not in Audit before"},
		"another is observed": {old: observing(other), warns: "rule shell kills, and was not in Audit before"},
	} {
		t.Run(name, func(t *testing.T) {
			req := policyRequest(t, killing)
			req.Old = policyRequest(t, tc.old).Object
			verdict, err := e.Judge(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			expectOne(t, "warning", verdict.Warnings, tc.warns)
		})
	}
}

// estimates are by priority: what a policy costs before and after an update.
type estimates map[int32]int

func (e estimates) Estimate(_ context.Context, p model.Policy) (Estimate, error) {
	return Estimate{Entries: e[p.Priority], Budget: 200}, nil
}

// Who has a policy that is over its budget may make it smaller and not greater,
// and hears of an overlap that an update brings beside one that it had.
func TestUpdatesOfWhatIsWrongAlready(t *testing.T) {
	costs := estimates{10: 300, 11: 250, 12: 301}
	tests := map[string]struct {
		from, to int32
		refused  string
	}{
		"as great as it was": {from: 10, to: 10},
		"smaller":            {from: 10, to: 11},
		"greater":            {from: 10, to: 12, refused: "it compiles to 301 entries, the budget is 200"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := NewEngine(t.Context(), rules.Modules(), &fakeCluster{}, costs)
			if err != nil {
				t.Fatal(err)
			}
			old, updated := denying("p", labelled("team", "a")), denying("p", labelled("team", "b"))
			old.Spec.Priority, updated.Spec.Priority = tc.from, tc.to
			req := policyRequest(t, updated)
			req.Old = policyRequest(t, old).Object
			verdict, err := e.Judge(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			expectOne(t, "refusal", verdict.Refused, tc.refused)
		})
	}
}

// The object that was there is judged by the namespaces of the same moment as the new one.
func TestNamespacesAreAskedForOnce(t *testing.T) {
	team := labelled("team", "a")
	cluster := &fakeCluster{namespaces: []model.Namespace{{Name: "kube-system", Labels: map[string]string{"team": "a"}}}}
	e := newEngine(t, rules.Modules(), cluster)
	policy := onlyRuntime("p", v1alpha1.ClusterwidePolicySubject{Namespaces: &team})
	req := policyRequest(t, policy)
	for n, old := range []map[string]any{nil, policyRequest(t, policy).Object} {
		req.Old = old
		verdict, err := e.Judge(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if refused := len(verdict.Refused) > 0; refused != (old == nil) {
			t.Errorf("update %v: refused: %v", old != nil, verdict.Refused)
		}
		if cluster.listed != n+1 { // each request asks anew
			t.Errorf("update %v: asked %d times until now, want %d", old != nil, cluster.listed, n+1)
		}
	}
}

func TestUpdateWithAnotherOverlap(t *testing.T) {
	others := []v1alpha1.ClusterwidePolicy{*denying("a", labelled("team", "a")), *denying("b", labelled("stage", "b"))}
	others[1].Spec.Subject.Namespaces.MatchLabels["team"] = "b"
	e := newEngine(t, rules.Modules(), &fakeCluster{clusterwide: others})
	wider := v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelSelectorRequirement{
		{Key: "team", Operator: metav1.LabelSelectorOpIn, Values: []v1alpha1.LabelValue{"a", "b"}},
	}}
	req := policyRequest(t, denying("p", wider))
	req.Old = policyRequest(t, denying("p", labelled("team", "a"))).Object
	verdict, err := e.Judge(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	expectOne(t, "warning", verdict.Warnings, "spec.priority: cwp/b has the same")
}

func always() bool { return true }

// manyNodes is the system with more nodes: node-0000 and on, of which the last is
// the only one with a label.
func manyNodes(n int) System {
	system := testSystem()
	pods, nodes := system.Cluster.Endpoints[:3], slices.Clone(system.Cluster.Endpoints[3:])
	for i := range n {
		name := fmt.Sprintf("node-%04d", i)
		nodes = append(nodes, model.Endpoint{
			ID: model.EndpointID{Kind: model.EndpointNode, Name: name}, Node: model.NodeName(name),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 91, byte(i >> 8), byte(i)})},
		})
	}
	nodes[len(nodes)-1].Labels = map[string]string{"pool": "edge"}
	system.Cluster.Endpoints = slices.Concat(pods, nodes)
	system.Needs = needs(pods, nodes, nil)
	return system
}

// denyingNodes denies one pool of nodes to the policy system.
func denyingNodes(pool string) *v1alpha1.ClusterwidePolicy {
	p := denying("p", labelled("kubernetes.io/metadata.name", systemNamespace))
	selector := labelled("pool", pool)
	p.Spec.Ingress[0].From = []v1alpha1.Peer{{Nodes: &selector}}
	return p
}

func TestLastOfManyNodesIsJudged(t *testing.T) {
	e := newEngine(t, rules.Modules(), &fakeCluster{system: manyNodes(2000)})
	verdict, err := e.Judge(t.Context(), policyRequest(t, denyingNodes("edge")))
	if err != nil {
		t.Fatal(err)
	}
	expectOne(t, "refusal", verdict.Refused, "all of cwp/p denies node node-1999 to pod palisade-system/controller, port 9443")
	if len(verdict.Notes) != 0 {
		t.Errorf("notes %q, want none: 2,000 nodes are judged in time", verdict.Notes)
	}
}

func TestCutsSayHowFarTheyGot(t *testing.T) {
	policy, err := translateObject(v1alpha1.KindClusterwidePolicy, raw(t, denyingNodes("edge")))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	found, seen := cuts(manyNodes(10), policy, func() bool { asked++; return asked <= 5 })
	if len(found) != 0 || seen != (extent{Judged: 5, Nodes: 12}) || !seen.partial() {
		t.Errorf("found %v, seen %+v; want nothing in 5 of 12", found, seen)
	}
	found, seen = cuts(manyNodes(10), policy, always)
	if len(found) != 1 || seen.partial() {
		t.Errorf("found %v, seen %+v; want the last node's cut, and all seen", found, seen)
	}
}

// The deadline of a request is far away; its clock says that the time is up.
func TestNodesNotJudgedAreAWarning(t *testing.T) {
	e := newEngine(t, rules.Modules(), &fakeCluster{system: manyNodes(10)})
	start := time.Now()
	hours := 0
	e.now = func() time.Time { hours++; return start.Add(time.Duration(hours-1) * time.Hour) }
	response := (&Handler{Engine: e}).Handle(t.Context(), admit(t, admissionv1.Create, denyingNodes("edge"), nil))
	want := "palisade: rule 37: only 0 of 12 nodes were judged in the time there is: the policy may cut off others"
	if !response.Allowed || !slices.Equal(response.Warnings, []string{want}) {
		t.Errorf("allowed %v, warnings %q; want allowed with %q", response.Allowed, response.Warnings, want)
	}
}

func expectOne(t *testing.T, what string, have []Violation, want string) {
	t.Helper()
	switch {
	case want == "" && len(have) > 0:
		t.Errorf("%s: have %v, want none", what, have)
	case want != "" && (len(have) != 1 || !strings.Contains(have[0].String(), want)):
		t.Errorf("%s: have %v, want one with %q", what, have, want)
	}
}
