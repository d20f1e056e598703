package compile

import (
	"fmt"
	"net/netip"
	"testing"

	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// tables counts the changed rows of a delta by table.
func tables(d snapshot.Delta) map[snapshot.Table]int {
	out := map[snapshot.Table]int{}
	for _, e := range d.Upserts {
		out[e.Table]++
	}
	for _, id := range d.Deletes {
		out[id.Table]++
	}
	return out
}

func wantTables(t *testing.T, what string, d snapshot.Delta, want map[snapshot.Table]int) {
	t.Helper()
	if got := tables(d); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: changed rows by table %v, want %v", what, got, want)
	}
}

// newcomer is one more pod like those of an application in the benchmark clusters.
func newcomer(node model.NodeName, labels map[string]string) model.Endpoint {
	return model.Endpoint{
		ID: model.EndpointID{Namespace: "ns-00000", Name: "newcomer"}, UID: "newcomer", Labels: labels, Node: node,
		Addresses: []netip.Addr{netip.MustParseAddr("172.16.0.1")},
	}
}

// TestPodOfKnownKind is promise P8 as far as it is the compiler's: a pod whose
// kind is known compiles nothing and writes two rows, in a cluster of any size.
func TestPodOfKnownKind(t *testing.T) {
	for _, pods := range []int{10, 1_000, 100_000} {
		t.Run(fmt.Sprint(pods), func(t *testing.T) {
			c := Full(fewLargeNamespaces(1, 10, pods/10, 10), Options{})
			var home *kind // one of pods that the node has
			for _, x := range c.node("node-0000").hosted.items {
				if x.key.protectable() {
					home = x.key
				}
			}
			c.Commit()
			labels := map[string]string{}
			for _, l := range home.of.Labels {
				labels[l.Key] = l.Value
			}
			labels["pod-template-hash"] = "nobody-reads-this"

			check := func(what string, do func()) {
				before := c.Stats()
				do()
				changes := c.Commit()
				after := c.Stats()
				wantTables(t, what+": common", changes.Common, map[snapshot.Table]int{snapshot.TableAddress: 1})
				if len(changes.Nodes) != 1 {
					t.Errorf("%s: %d nodes changed", what, len(changes.Nodes))
				}
				wantTables(t, what+": its node", changes.Nodes["node-0000"], map[snapshot.Table]int{snapshot.TableLocal: 1})
				after.RowsWritten, before.RowsWritten = after.RowsWritten-before.RowsWritten, 0
				if after.RowsWritten > 2 {
					t.Errorf("%s: %d rows written", what, after.RowsWritten)
				}
				after.RowsWritten = 0
				if before != after {
					t.Errorf("%s: compiled: %+v, then %+v", what, before, after)
				}
			}
			check("added", func() { c.PutEndpoint(newcomer("node-0000", labels)) })
			check("removed", func() { c.DeleteEndpoint(model.EndpointID{Namespace: "ns-00000", Name: "newcomer"}) })
		})
	}
}

// TestNewKindIsLocal: a kind that nothing was known of computes its own two
// rulesets, and no other's.
func TestNewKindIsLocal(t *testing.T) {
	c := Full(fewLargeNamespaces(3, 10, 10, 10), Options{})
	c.Commit()
	before := c.Stats()
	c.PutEndpoint(newcomer("node-0000", map[string]string{"app": "new"}))
	changes := c.Commit()
	after := c.Stats()
	if n := after.RulesetsComputed - before.RulesetsComputed; n != 2 {
		t.Errorf("%d rulesets computed", n)
	}
	if n := after.ProgramsComputed - before.ProgramsComputed; n != 2 {
		t.Errorf("%d programs computed", n)
	}
	if len(changes.Nodes) != 1 {
		t.Errorf("%d nodes changed, although no rule names the newcomer", len(changes.Nodes))
	}
}

// TestEditWritesCells: a rule that changes its ports writes programs and the
// cells that point to them, on the nodes that have the ruleset, and nothing else.
func TestEditWritesCells(t *testing.T) {
	cluster := fewLargeNamespaces(3, 10, 3, 10)
	c := Full(cluster, Options{})
	c.Commit()
	var edited model.Policy
	for _, p := range cluster.Policies {
		if p.Ref.Namespace == "ns-00001" && p.Ref.Name == "app-4" {
			edited = p
		}
	}
	edited.Ingress = []model.Rule{edited.Ingress[0]}
	edited.Ingress[0].Ports = []model.PortMatch{{Proto: model.ProtoTCP, Lo: 80, Hi: 80}}
	c.PutPolicy(edited, 0)
	subjects := c.Subjects(edited.Ref)
	changes := c.Commit()
	if subjects.Endpoints != 3 || len(changes.Nodes) != len(subjects.Nodes) {
		t.Errorf("subjects %+v, and %d nodes changed", subjects, len(changes.Nodes))
	}
	if !changes.Common.Empty() {
		t.Errorf("addresses changed: %v", tables(changes.Common))
	}
	for name, d := range changes.Nodes {
		// One cell, from the program of all ports to that of one.
		wantTables(t, string(name), d, map[snapshot.Table]int{snapshot.TableProgram: 2, snapshot.TableCell: 1})
	}
}

// TestSameAgainIsNothing: what is put as it was changes nothing.
func TestSameAgainIsNothing(t *testing.T) {
	cluster := manySmallNamespaces(5, 3)
	c := Full(cluster, Options{})
	c.Commit()
	before := c.Stats()
	for _, p := range cluster.Policies {
		c.PutPolicy(p, 0)
	}
	for _, e := range cluster.Endpoints {
		c.PutEndpoint(e)
	}
	for _, ns := range cluster.Namespaces {
		c.PutNamespace(ns)
	}
	c.SetAPIServer(nil)
	if changes := c.Commit(); !changes.Empty() {
		t.Errorf("common %v, nodes %d", tables(changes.Common), len(changes.Nodes))
	}
	after := c.Stats()
	if after.RowsWritten = before.RowsWritten; after != before {
		t.Errorf("compiled: %+v, then %+v", before, after)
	}
}

// TestLabelNobodyReads: labels and namespaces' labels that no selector reads
// change nothing.
func TestLabelNobodyReads(t *testing.T) {
	cluster := manySmallNamespaces(5, 3)
	c := Full(cluster, Options{})
	c.Commit()
	c.PutNamespace(model.Namespace{Name: "ns-00001", Labels: map[string]string{"unread": "x"}})
	for _, e := range cluster.Endpoints {
		if e.ID.Kind == model.EndpointPod {
			e.Labels = map[string]string{"app": e.Labels["app"], "unread": "y"}
			c.PutEndpoint(e)
			break
		}
	}
	if changes := c.Commit(); !changes.Empty() {
		t.Errorf("common %v, nodes %d", tables(changes.Common), len(changes.Nodes))
	}
}

// TestNewKeyTouchesItsHolders: a selector that reads a new key renumbers the
// endpoints that have it and no others.
func TestNewKeyTouchesItsHolders(t *testing.T) {
	cluster := manySmallNamespaces(5, 3)
	special := newcomer("node-0000", map[string]string{"app": "app-1", "special": "yes"})
	cluster.Endpoints = append(cluster.Endpoints, special)
	c := Full(cluster, Options{})
	c.Commit()
	before := c.Stats()
	c.PutPolicy(model.Policy{
		Ref: model.PolicyRef{Kind: model.KindNetworkPolicy, Namespace: "ns-00000", Name: "special"}, Tier: model.TierNamespace,
		Subject: model.Subject{Namespaces: model.NamespaceMatch{Name: "ns-00000"}, Labels: equals("special", "yes")}, IsolateIngress: true,
	}, 0)
	changes := c.Commit()
	wantTables(t, "common", changes.Common, map[snapshot.Table]int{snapshot.TableAddress: 1})
	if n := c.Stats().KindsAdded - before.KindsAdded; n != 1 {
		t.Errorf("%d kinds added", n)
	}
}
