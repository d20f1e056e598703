package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// processes is a policy about the pods of a namespace, with rules of one section.
func processes(name string, s model.Section, rules ...model.RuntimeRule) model.Policy {
	p := model.Policy{
		Ref: model.PolicyRef{Kind: model.KindRuntime, Namespace: "shop", Name: name}, Tier: model.TierNamespace,
		Subject: model.Subject{Namespaces: model.NamespaceMatch{Name: "shop"}}, Runtime: &model.Runtime{},
	}
	p.Runtime.Sections[s].Rules = rules
	return p
}

func denies(name string, paths ...string) model.RuntimeRule {
	return model.RuntimeRule{Name: name, Action: model.RuntimeDeny, Paths: paths}
}

// shopPod is a pod on node n.
func shopPod(name string, labels map[string]string) model.Endpoint {
	return model.Endpoint{ID: model.EndpointID{Namespace: "shop", Name: name}, UID: model.UID("uid of " + name), Node: "n", Labels: labels}
}

// runtimeShop has a node and two pods that a label tells apart.
func runtimeShop(options Options) *Compiler {
	c := New(options)
	c.PutEndpoint(model.Endpoint{ID: model.EndpointID{Kind: model.EndpointNode, Name: "n"}, Node: "n"})
	c.PutEndpoint(shopPod("a", map[string]string{"app": "a"}))
	c.PutEndpoint(shopPod("b", map[string]string{"app": "b"}))
	return c
}

// runtimeRows lists a node's rows of one type.
func runtimeRows[T snapshot.Row](t *testing.T, c *Compiler) []T {
	t.Helper()
	rows, err := c.Node("n").Rows()
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	for _, row := range rows {
		if r, ok := row.(T); ok {
			out = append(out, r)
		}
	}
	return out
}

// rulesOf lists the rules of a ruleset as events name them, in their order.
func rulesOf(t *testing.T, c *Compiler, id snapshot.RulesetID) string {
	t.Helper()
	names := map[snapshot.RuleID]string{}
	for _, r := range runtimeRows[snapshot.RuleRow](t, c) {
		names[r.ID] = r.Policy + ":" + r.Rule
	}
	for _, r := range runtimeRows[snapshot.RuntimeRulesetRow](t, c) {
		if r.ID == id {
			var out []string
			for _, rule := range r.Rules {
				out = append(out, names[rule])
			}
			return strings.Join(out, " ")
		}
	}
	return "(none)"
}

func containers(t *testing.T, c *Compiler, kind snapshot.KindID) string {
	t.Helper()
	var out []string
	for _, r := range runtimeRows[snapshot.RuntimeSubjectRow](t, c) {
		if r.Kind == kind {
			out = append(out, fmt.Sprintf("%s=[%s]", r.Container, rulesOf(t, c, r.Ruleset)))
		}
	}
	return strings.Join(out, " ")
}

func kindOf(t *testing.T, c *Compiler, uid string) snapshot.KindID {
	t.Helper()
	for _, r := range runtimeRows[snapshot.LocalRow](t, c) {
		if r.UID == uid {
			return r.Kind
		}
	}
	for _, r := range runtimeRows[snapshot.RuntimePodRow](t, c) {
		if r.UID == uid {
			return r.Kind
		}
	}
	t.Fatalf("no row tells the kind of %s", uid)
	return snapshot.KindID{}
}

func TestRuntimeOrder(t *testing.T) {
	c := runtimeShop(Options{})
	tiered := func(name string, tier model.Tier, priority int32, isolates bool, rules ...model.RuntimeRule) {
		p := processes(name, model.SectionFiles, rules...)
		p.Ref = model.PolicyRef{Kind: model.KindClusterwide, Name: name}
		p.Tier, p.Priority = tier, priority
		p.Runtime.Sections[model.SectionFiles].Isolates = isolates
		c.PutPolicy(p, 0)
	}
	rule := func(name string, a model.RuntimeAction) model.RuntimeRule {
		return model.RuntimeRule{Name: name, Action: a}
	}
	tiered("base", model.TierBaseline, 1, true, rule("k", model.RuntimeKill))
	tiered("late", model.TierAdmin, 2, true, rule("d", model.RuntimeDeny), rule("k", model.RuntimeKill), rule("e", model.RuntimeExcept))
	tiered("early", model.TierAdmin, 1, false, rule("a", model.RuntimeAccept), rule("d2", model.RuntimeDeny), rule("d1", model.RuntimeAudit))
	for _, p := range []struct {
		name string
		mode model.Mode
	}{{"x", model.Audit}, {"y", model.Enforce}, {"z", model.Enforce}} {
		ns := processes(p.name, model.SectionFiles, rule("a", model.RuntimeAccept))
		ns.Mode = p.mode
		ns.Runtime.Sections[model.SectionFiles].Isolates = true
		c.PutPolicy(ns, 0)
	}
	c.Commit()
	const want = "=[late:files/e late:files/k early:files/d1 early:files/d2 late:files/d early:files/a" +
		" x:files/a y:files/a z:files/a x:files/(isolated) y:files/(isolated) base:files/k base:files/(isolated)]"
	if got := containers(t, c, kindOf(t, c, "uid of a")); got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
	for _, r := range runtimeRows[snapshot.RuntimeRuleRow](t, c) {
		audit := r.ID == newRuleInfo(model.RuleRef{Tier: model.TierAdmin, Policy: model.PolicyRef{Kind: model.KindClusterwide, Name: "early"}, Rule: "files/d1"}, "", "", nil).id
		name := ruleNameOf(t, c, r.ID)
		if audit = audit || strings.HasPrefix(name, "x:"); r.Enforced == audit || !r.Staged {
			t.Errorf("%s: enforced %v, staged %v", name, r.Enforced, r.Staged)
		}
	}
}

func ruleNameOf(t *testing.T, c *Compiler, id snapshot.RuleID) string {
	t.Helper()
	for _, r := range runtimeRows[snapshot.RuleRow](t, c) {
		if r.ID == id {
			return r.Policy + ":" + r.Rule
		}
	}
	return ""
}

func TestRuntimeContainers(t *testing.T) {
	c := runtimeShop(Options{})
	named := func(name string, names ...string) {
		p := processes(name, model.SectionFiles, denies("r", "/x"))
		p.Runtime.Containers = names
		c.PutPolicy(p, 0)
	}
	named("all")
	named("one", "app")
	named("sandbox", "app", "pause")
	c.Commit()
	const want = "=[all:files/r] app=[all:files/r one:files/r sandbox:files/r] pause=[sandbox:files/r]"
	if got := containers(t, c, kindOf(t, c, "uid of a")); got != want {
		t.Errorf("have %s\nwant %s", got, want)
	}
	if got := len(runtimeRows[snapshot.RuntimeRulesetRow](t, c)); got != 3 {
		t.Errorf("%d rulesets for two pods that nobody tells apart", got)
	}
	c.DeletePolicy(model.PolicyRef{Kind: model.KindRuntime, Namespace: "shop", Name: "all"})
	c.Commit()
	if got := containers(t, c, kindOf(t, c, "uid of a")); got != "app=[one:files/r sandbox:files/r] pause=[sandbox:files/r]" {
		t.Errorf("without the general policy: %s", got)
	}
}

// TestRuntimeEditsAreSmall: what an edit writes does not depend on how many rules
// there are beside it.
func TestRuntimeEditsAreSmall(t *testing.T) {
	c := runtimeShop(Options{})
	rules := []model.RuntimeRule{}
	for i := range 50 {
		rules = append(rules, denies(fmt.Sprintf("r%02d", i), fmt.Sprintf("/bin/%d", i)))
	}
	put := func(change func(*model.RuntimeRule)) {
		list := slices.Clone(rules)
		change(&list[7])
		c.PutPolicy(processes("p", model.SectionExecutables, list...), 0)
		rules = list
	}
	put(func(*model.RuntimeRule) {})
	c.Commit()
	for name, tc := range map[string]struct {
		change func(*model.RuntimeRule)
		want   map[snapshot.Table]int
	}{
		"another path":    {func(r *model.RuntimeRule) { r.Paths = []string{"/bin/other"} }, map[snapshot.Table]int{snapshot.TableRuntimeRule: 1}},
		"another message": {func(r *model.RuntimeRule) { r.Message = "why" }, map[snapshot.Table]int{snapshot.TableRule: 1}},
		"another action": {func(r *model.RuntimeRule) { r.Action = model.RuntimeKill },
			map[snapshot.Table]int{snapshot.TableRuntimeRule: 1, snapshot.TableRuntimeRuleset: 1}},
	} {
		put(tc.change)
		changes := c.Commit()
		wantTables(t, name, changes.Nodes["n"], tc.want)
	}
	c.PutEndpoint(shopPod("c", map[string]string{"app": "a", "nobody": "reads this"}))
	wantTables(t, "a pod of a known kind", c.Commit().Nodes["n"], map[snapshot.Table]int{snapshot.TableLocal: 1})
}

func TestRuntimeSubjects(t *testing.T) {
	c := runtimeShop(Options{})
	host := shopPod("host", nil)
	host.HostNetwork, host.Node = true, "m"
	static := shopPod("static", nil)
	static.ConfigHash = "0123456789abcdef0123456789abcdef"
	c.PutEndpoint(host)
	c.PutEndpoint(static)
	p := processes("p", model.SectionNetwork, model.RuntimeRule{
		Name: "r", Action: model.RuntimeDeny, Peers: []model.Peer{{Kind: model.PeerAddressGroup, Name: "office"}},
	})
	c.PutPolicy(p, 0)
	c.Commit()
	if got := c.Subjects(p.Ref); got.Endpoints != 4 || fmt.Sprint(got.Nodes) != "[m n]" {
		t.Errorf("subjects %+v", got)
	}
	if got := c.MissingGroups(p.Ref); fmt.Sprint(got) != "[office]" {
		t.Errorf("missing groups %v", got)
	}
	if a, b := kindOf(t, c, static.ConfigHash), kindOf(t, c, "uid of static"); a != b {
		t.Error("a static pod is of another kind by its hash than by its UID")
	}
	if rows, err := c.Node("m").Rows(); err != nil || !slices.ContainsFunc(rows, func(r snapshot.Row) bool {
		pod, ok := r.(snapshot.RuntimePodRow)
		return ok && pod.UID == "uid of host" && pod.Namespace == "shop" && pod.Name == "host"
	}) || slices.ContainsFunc(rows, func(r snapshot.Row) bool { return r.Table() == snapshot.TableLocal }) {
		t.Errorf("rows of the host pod's node: %v, %v", rows, err)
	}
	// Of the network's policies a pod with host networking is no subject.
	network := greedy("net", 1)
	network.Ref.Namespace, network.Subject.Namespaces.Name = "shop", "shop"
	c.PutPolicy(network, 0)
	c.Commit()
	if got := c.Subjects(network.Ref); got.Endpoints != 3 || fmt.Sprint(got.Nodes) != "[n]" {
		t.Errorf("subjects of a network policy %+v", got)
	}
}

func TestRuntimeAddressGroups(t *testing.T) {
	c := runtimeShop(Options{})
	c.PutPolicy(processes("p", model.SectionNetwork, model.RuntimeRule{
		Name: "r", Action: model.RuntimeDeny, Peers: []model.Peer{{Kind: model.PeerAddressGroup, Name: "office"}},
	}), 0)
	c.Commit()
	blocks := func() string {
		row := runtimeRows[snapshot.RuntimeRuleRow](t, c)[0]
		return fmt.Sprint(row.Blocks)
	}
	if got := blocks(); got != "[{::/127 [::/128 ::1/128]}]" {
		t.Errorf("a group that does not exist: %s", got)
	}
	c.PutAddressGroup(model.AddressGroup{Name: "office", CIDRs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.0.0.0/8")}})
	wantTables(t, "a group's members", c.Commit().Nodes["n"], map[snapshot.Table]int{snapshot.TableRuntimeRule: 1})
	if got := blocks(); got != "[{10.0.0.0/8 []} {192.0.2.0/24 []}]" {
		t.Errorf("its members: %s", got)
	}
}

func TestRuntimeNodes(t *testing.T) {
	c := runtimeShop(Options{})
	p := processes("host", model.SectionPrivileges, model.RuntimeRule{Name: "bpf", Action: model.RuntimeDeny, Operations: uint32(model.PrivilegeLoadBPF)})
	p.Ref, p.Tier = model.PolicyRef{Kind: model.KindClusterwide, Name: "host"}, model.TierAdmin
	p.Subject = model.Subject{Kind: model.EndpointNode}
	c.PutPolicy(p, 0)
	c.Commit()
	if got := containers(t, c, kindOf(t, c, snapshot.RuntimeNodeUID)); got != "=[host:privileges/bpf]" {
		t.Errorf("the node's own processes: %s", got)
	}
	if got := containers(t, c, kindOf(t, c, "uid of a")); got != "" {
		t.Errorf("a pod on it: %s", got)
	}
	if got := c.Subjects(p.Ref); got.Endpoints != 1 || !slices.Equal(got.Nodes, []model.NodeName{"n"}) {
		t.Errorf("where the policy has to be in force: %+v", got)
	}
	c.DeletePolicy(p.Ref)
	wantTables(t, "without the policy", c.Commit().Nodes["n"], map[snapshot.Table]int{
		snapshot.TableRule: 2, snapshot.TableRuntimeRule: 1, snapshot.TableRuntimeRuleset: 1, snapshot.TableRuntimeSubject: 1, snapshot.TableRuntimePod: 1,
	})
}

// TestRuntimeWorkloads: the host that is an external workload has rules about its own
// processes, as a node has, and none about packets. Those stay with the workloads that
// have no host.
func TestRuntimeWorkloads(t *testing.T) {
	c := runtimeShop(Options{})
	vm := model.Endpoint{ID: model.EndpointID{Kind: model.EndpointExternal, Namespace: "legacy", Name: "vm"}}
	host := model.HostOf(vm.ID)
	p := processes("machines", model.SectionPrivileges, model.RuntimeRule{Name: "bpf", Action: model.RuntimeDeny, Operations: uint32(model.PrivilegeLoadBPF)})
	p.Ref, p.Tier = model.PolicyRef{Kind: model.KindClusterwide, Name: "machines"}, model.TierAdmin
	p.Subject = model.Subject{Kind: model.EndpointExternal}
	p.Ingress = greedy("net", 1).Ingress
	nodes := p
	nodes.Ref.Name, nodes.Subject = "nodes", model.Subject{Kind: model.EndpointNode}
	nodes.Ingress = nil
	c.PutPolicy(p, 0)
	c.PutPolicy(nodes, 0)
	c.PutEndpoint(vm)
	before := c.Commit()
	if _, ok := before.Nodes[host]; ok {
		t.Errorf("a workload without a host: %v", before.Nodes[host])
	}
	without := c.Digest("")

	vm.Node = host
	c.PutEndpoint(vm)
	delta := c.Commit()
	wantTables(t, "its host", delta.Nodes[host], map[snapshot.Table]int{
		snapshot.TableMeta: 1, snapshot.TableRule: 3, snapshot.TableRuntimeRule: 1, snapshot.TableRuntimeRuleset: 1, snapshot.TableRuntimeSubject: 1, snapshot.TableRuntimePod: 1,
	})
	rows, err := c.Node(host).Rows()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		switch r := row.(type) {
		case snapshot.RuntimePodRow:
			if r.UID != snapshot.RuntimeNodeUID || r.Name != "legacy/vm" {
				t.Errorf("the host itself: %+v", r)
			}
		case snapshot.RuleRow:
			if r.PolicyKind == uint8(model.KindClusterwide) && r.Policy+"/"+r.Rule != "machines/privileges/bpf" {
				t.Errorf("a rule that is not about its processes: %+v", r)
			}
		}
	}
	if c.Digest("") != without {
		t.Error("what is about packets of workloads changed")
	}
	if got := c.Subjects(p.Ref); got.Endpoints != 1 || got.Unhosted != 1 || len(got.Nodes) > 0 {
		t.Errorf("no node hosts it: %+v", got)
	}
	vm.Node = ""
	c.PutEndpoint(vm)
	if gone := c.Commit().Gone; !slices.Equal(gone, []model.NodeName{host}) {
		t.Errorf("without a host again: %v is gone", gone)
	}
}

// TestRuntimePeers: rules that name the same peers share what tells these apart.
func TestRuntimePeers(t *testing.T) {
	c := runtimeShop(Options{})
	reach := func(name string, action model.RuntimeAction) model.RuntimeRule {
		return model.RuntimeRule{Name: name, Action: action, Peers: []model.Peer{
			{Kind: model.PeerEndpoints, Namespaces: model.NamespaceMatch{Name: "shop"}}, {Kind: model.PeerEntity, Entity: model.EntityWorld},
		}}
	}
	c.PutPolicy(processes("p", model.SectionNetwork, reach("r", model.RuntimeDeny)), 0)
	c.PutPolicy(processes("q", model.SectionNetwork, reach("r", model.RuntimeAccept)), 0)
	c.Commit()
	rows := runtimeRows[snapshot.RuntimeRuleRow](t, c)
	if len(rows) != 2 || rows[0].Peers != rows[1].Peers || rows[0].Peers == (snapshot.RulesetID{}) || len(rows[0].Blocks) > 0 {
		t.Fatalf("rows %+v", rows)
	}
	of := func() (rulesets, cells int) {
		for _, r := range runtimeRows[snapshot.RulesetRow](t, c) {
			if r.ID == rows[0].Peers {
				rulesets++
			}
		}
		for _, r := range runtimeRows[snapshot.CellRow](t, c) {
			if r.Ruleset == rows[0].Peers {
				cells++
			}
		}
		return rulesets, cells
	}
	if rulesets, cells := of(); rulesets != 1 || cells != 3 {
		t.Errorf("%d rulesets, %d cells: one of the shop, one of the world, one of neither", rulesets, cells)
	}
	c.DeletePolicy(model.PolicyRef{Kind: model.KindRuntime, Namespace: "shop", Name: "p"})
	c.Commit()
	if rulesets, _ := of(); rulesets != 1 {
		t.Error("it went with the first of two users")
	}
	c.DeletePolicy(model.PolicyRef{Kind: model.KindRuntime, Namespace: "shop", Name: "q"})
	c.Commit()
	if rulesets, cells := of(); rulesets+cells != 0 || len(c.rulesets) != 2 {
		t.Errorf("left behind: %d rows of rulesets, %d cells, %d rulesets in the compiler", rulesets, cells, len(c.rulesets))
	}
}
