package compile

import (
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"palisade.dev/palisade/policy/model"
)

// The clusters of these benchmarks are of the shapes on which other policy engines
// are measured.

func equals(key, value string) model.Selector {
	return model.Selector{Requirements: []model.Requirement{{Key: key, Op: model.In, Values: []string{value}}}}
}

// builder builds clusters.
type builder struct {
	model.Cluster
	nodes int
	pods  int
}

func newBuilder(nodes int) *builder {
	b := &builder{nodes: nodes}
	for i := range nodes {
		name := fmt.Sprintf("node-%04d", i)
		b.Endpoints = append(b.Endpoints, model.Endpoint{
			ID: model.EndpointID{Kind: model.EndpointNode, Name: name}, Node: model.NodeName(name),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)})},
		})
	}
	return b
}

func (b *builder) namespace(i int) string {
	name := fmt.Sprintf("ns-%05d", i)
	b.Namespaces = append(b.Namespaces, model.Namespace{Name: name, Labels: map[string]string{
		"kubernetes.io/metadata.name": name, "name": name,
	}})
	return name
}

func (b *builder) pod(ns string, labels map[string]string) {
	i := b.pods
	b.pods++
	node := b.Endpoints[i*7919%b.nodes].Node
	name := fmt.Sprintf("pod-%06d", i)
	b.Endpoints = append(b.Endpoints, model.Endpoint{
		ID:        model.EndpointID{Kind: model.EndpointPod, Namespace: ns, Name: name},
		UID:       model.UID(fmt.Sprintf("%08x-0000-4000-8000-%012x", i, i)),
		Labels:    labels,
		Node:      node,
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})},
	})
}

// app lets pods labelled like its subject talk to each other.
func (b *builder) app(ns, name string, who model.Selector, peers model.NamespaceMatch, from model.Selector) {
	peer := model.Peer{Kind: model.PeerEndpoints, Namespaces: peers, Labels: from}
	rules := func(name string) []model.Rule {
		return []model.Rule{{
			Name: name, Action: model.ActionAccept, Peers: []model.Peer{peer},
			Ports: []model.PortMatch{{Proto: model.ProtoAny}},
		}}
	}
	b.Policies = append(b.Policies, model.Policy{
		Ref: model.PolicyRef{Kind: model.KindUpstream, Namespace: ns, Name: name}, Tier: model.TierNamespace,
		Subject:        model.Subject{Namespaces: model.NamespaceMatch{Name: ns}, Labels: who},
		IsolateIngress: true, IsolateEgress: true, Ingress: rules("ingress-0"), Egress: rules("egress-0"),
	})
}

func (b *builder) deny(ns string) {
	b.Policies = append(b.Policies, model.Policy{
		Ref: model.PolicyRef{Kind: model.KindUpstream, Namespace: ns, Name: "default-deny"}, Tier: model.TierNamespace,
		Subject: model.Subject{Namespaces: model.NamespaceMatch{Name: ns}}, IsolateIngress: true, IsolateEgress: true,
	})
}

func (b *builder) cluster() model.Cluster { return b.Cluster }

// manySmallNamespaces: each namespace denies by default and has two applications
// of two pods that talk among themselves.
func manySmallNamespaces(namespaces, nodes int) model.Cluster {
	b := newBuilder(nodes)
	for i := range namespaces {
		ns := b.namespace(i)
		b.deny(ns)
		for a := range 2 {
			app := fmt.Sprintf("app-%d", a+1)
			b.app(ns, app, equals("app", app), model.NamespaceMatch{Name: ns}, equals("app", app))
			for range 2 {
				b.pod(ns, map[string]string{"app": app})
			}
		}
	}
	return b.cluster()
}

// fewLargeNamespaces: each namespace denies by default and has 100 applications.
func fewLargeNamespaces(namespaces, apps, pods, nodes int) model.Cluster {
	b := newBuilder(nodes)
	for i := range namespaces {
		ns := b.namespace(i)
		b.deny(ns)
		for a := range apps {
			app := fmt.Sprintf("app-%d", a)
			b.app(ns, app, equals("app", app), model.NamespaceMatch{Name: ns}, equals("app", app))
			for range pods {
				b.pod(ns, map[string]string{"app": app})
			}
		}
	}
	return b.cluster()
}

// allSelectAll: one namespace whose policies each select and allow every pod.
func allSelectAll(pods, policies, nodes int) model.Cluster {
	b := newBuilder(nodes)
	ns := b.namespace(0)
	for i := range policies {
		b.app(ns, fmt.Sprintf("policy-%05d", i), model.Selector{}, model.NamespaceMatch{Name: ns}, model.Selector{})
	}
	for range pods {
		b.pod(ns, map[string]string{"app": "x"})
	}
	return b.cluster()
}

// uniquePairs: one namespace with pairs of pods of which each allows the other.
func uniquePairs(pairs, nodes int) model.Cluster {
	b := newBuilder(nodes)
	ns := b.namespace(0)
	for i := range pairs {
		left, right := fmt.Sprintf("left-%d", i), fmt.Sprintf("right-%d", i)
		b.app(ns, left, equals("app", left), model.NamespaceMatch{Name: ns}, equals("app", right))
		b.app(ns, right, equals("app", right), model.NamespaceMatch{Name: ns}, equals("app", left))
		b.pod(ns, map[string]string{"app": left})
		b.pod(ns, map[string]string{"app": right})
	}
	return b.cluster()
}

// acrossNamespaces: namespaces whose policies let in pods of ten namespaces.
func acrossNamespaces(namespaces, apps, pods, nodes int) model.Cluster {
	b := newBuilder(nodes)
	for i := range namespaces {
		ns := b.namespace(i)
		b.Namespaces[i].Labels["cell"] = fmt.Sprint(i / 10)
		for a := range apps {
			app := fmt.Sprintf("app-%d", a)
			b.app(ns, app, equals("app", app), model.NamespaceMatch{Labels: equals("cell", fmt.Sprint(i/10))}, equals("app", app))
			for range pods {
				b.pod(ns, map[string]string{"app": app})
			}
		}
	}
	return b.cluster()
}

// ownSelectors: one namespace whose policies each allow every pod by a selector
// of their own, so that one ruleset tells as many groups apart as there are
// policies, and every pod is in all of them.
func ownSelectors(pods, policies, nodes int) model.Cluster {
	b := newBuilder(nodes)
	ns := b.namespace(0)
	for i := range policies {
		from := model.Selector{Requirements: []model.Requirement{{Key: "app", Op: model.NotIn, Values: []string{fmt.Sprintf("no-%05d", i)}}}}
		b.app(ns, fmt.Sprintf("policy-%05d", i), model.Selector{}, model.NamespaceMatch{Name: ns}, from)
	}
	for i := range pods {
		b.pod(ns, map[string]string{"app": fmt.Sprint(i % 10)})
	}
	return b.cluster()
}

// processorTime is what the process has used so far. On a machine that does other
// things too it says more than the clock.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpu reports the processor time that a benchmark took per operation.
func cpu(b *testing.B) func() {
	begin := processorTime(b)
	return func() {
		b.ReportMetric(float64((processorTime(b)-begin).Microseconds())/1e3/float64(b.N), "cpu-ms/op")
	}
}

func rowsOf(c *Compiler) float64 {
	rows := c.Common().Len()
	for _, name := range c.NodeNames() {
		rows += c.Node(name).Len()
	}
	return float64(rows)
}

// BenchmarkFull compiles whole clusters, with the rows of all nodes: on one node
// every row exists once, on many as often as nodes need it. digest-ms is the
// processor time that the digests of all nodes took after that, once.
func BenchmarkFull(b *testing.B) {
	for _, nodes := range []int{1, 1_000} {
		for _, x := range []struct {
			name  string
			build func() model.Cluster
		}{
			{"25k-namespaces,100k-pods,75k-policies", func() model.Cluster { return manySmallNamespaces(25_000, nodes) }},
			{"100-namespaces,100k-pods,10100-policies", func() model.Cluster { return fewLargeNamespaces(100, 100, 10, nodes) }},
			{"1-namespace,10k-pods,10k-policies-of-all", func() model.Cluster { return allSelectAll(10_000, 10_000, nodes) }},
			{"1-namespace,5k-pairs", func() model.Cluster { return uniquePairs(5_000, nodes) }},
			{"1k-namespaces,100k-pods,10k-policies-across", func() model.Cluster { return acrossNamespaces(1_000, 10, 10, nodes) }},
			{"1-namespace,1k-pods,10k-selectors-of-all", func() model.Cluster { return ownSelectors(1_000, 10_000, min(nodes, 100)) }},
		} {
			b.Run(fmt.Sprintf("nodes=%d/%s", nodes, x.name), func(b *testing.B) {
				cluster := x.build()
				runtime.GC()
				b.ReportAllocs()
				done := cpu(b)
				var c *Compiler
				options := Options{}
				if nodes == 1 {
					options.RulesPerNode = 1 << 20 // no agent has room for what is of 1,000 nodes
				}
				for b.Loop() {
					c = Full(cluster, options)
				}
				done()
				if refused := c.Refusals(); len(refused) > 0 {
					b.Fatalf("%d policies refused, the first: %v", len(refused), &refused[0])
				}
				b.ReportMetric(rowsOf(c), "rows")
				begin := processorTime(b)
				for _, name := range c.NodeNames() {
					c.Digest(name)
				}
				b.ReportMetric(float64((processorTime(b) - begin).Milliseconds()), "digest-ms")
			})
		}
	}
}

// BenchmarkCommit changes one thing in a cluster of 10,000 pods and 7,500 policies
// on 100 nodes, and takes it back.
func BenchmarkCommit(b *testing.B) {
	cluster := manySmallNamespaces(2_500, 100)
	for _, x := range []struct {
		name     string
		do, undo func(*Compiler)
	}{
		{
			"pod of a known kind",
			func(c *Compiler) { c.PutEndpoint(newcomer("node-0000", map[string]string{"app": "app-1"})) },
			func(c *Compiler) { c.DeleteEndpoint(newcomer("", nil).ID) },
		}, {
			"pod of a new kind",
			func(c *Compiler) { c.PutEndpoint(newcomer("node-0000", map[string]string{"app": "new"})) },
			func(c *Compiler) { c.DeleteEndpoint(newcomer("", nil).ID) },
		}, {
			"rule of one application",
			func(c *Compiler) {
				p := cluster.Policies[1]
				p.Ingress = nil
				c.PutPolicy(p, 0)
			},
			func(c *Compiler) { c.PutPolicy(cluster.Policies[1], 0) },
		}, {
			"clusterwide policy for everybody",
			func(c *Compiler) {
				c.PutPolicy(model.Policy{
					Ref: model.PolicyRef{Kind: model.KindClusterwide, Name: "all"}, Tier: model.TierAdmin,
					Egress: []model.Rule{{
						Name: "no-metadata", Action: model.ActionDeny, Ports: []model.PortMatch{{Proto: model.ProtoAny}},
						Peers: []model.Peer{{Kind: model.PeerBlock, Block: model.Block{CIDR: netip.MustParsePrefix("169.254.169.254/32")}}},
					}},
				}, 0)
			},
			func(c *Compiler) { c.DeletePolicy(model.PolicyRef{Kind: model.KindClusterwide, Name: "all"}) },
		},
	} {
		b.Run(x.name, func(b *testing.B) {
			c := Full(cluster, Options{})
			runtime.GC()
			b.ReportAllocs()
			done := cpu(b)
			for b.Loop() {
				x.do(c)
				c.Commit()
				x.undo(c)
				c.Commit()
			}
			done()
		})
	}
}
