package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/nodeagent"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/snapshot"
)

// golden compares output that scripts depend on with what it was.
func golden(t *testing.T, name string, have []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, have, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s differs (go test -update writes it anew); have:\n%s", file, have)
	}
}

// TestStatusIsStable: every field of palisade status -o json, and which objects it lists.
func TestStatusIsStable(t *testing.T) {
	conditions := func(accepted, programmed, ready metav1.ConditionStatus, reason, message string) []metav1.Condition {
		return []metav1.Condition{
			{Type: v1alpha1.ConditionAccepted, Status: accepted, Reason: v1alpha1.ReasonAccepted, Message: "not shown"},
			{Type: v1alpha1.ConditionProgrammed, Status: programmed, Reason: v1alpha1.ReasonPending, Message: "not shown"},
			{Type: v1alpha1.ConditionReady, Status: ready, Reason: reason, Message: message},
		}
	}
	const yes, no = metav1.ConditionTrue, metav1.ConditionFalse
	realized := v1alpha1.PolicyStatus{
		ObservedGeneration: 3, SnapshotGeneration: 9, Endpoints: 4, Nodes: v1alpha1.NodeCounts{Desired: 2, Realized: 2},
		Conditions: conditions(yes, yes, yes, v1alpha1.ReasonRealized, "in force on 2 nodes"),
	}
	failing := v1alpha1.PolicyStatus{
		ObservedGeneration: 3, Endpoints: 5, Nodes: v1alpha1.NodeCounts{Desired: 5, Realized: 2, Failed: 2, Unreachable: 1},
		Conditions: conditions(yes, no, no, v1alpha1.ReasonNodeRefused, "2 of 5 nodes"),
		Failures:   []v1alpha1.NodeFailure{{Node: "n1", Reason: "KernelRefused: no"}, {Node: "n2", Reason: "KernelRefused: no"}},
	}
	peer := func(ready metav1.ConditionStatus, reason, message string) v1alpha1.PeerStatus {
		return v1alpha1.PeerStatus{ObservedGeneration: 3, Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionAccepted, Status: ready, Reason: reason, Message: message},
			{Type: v1alpha1.ConditionReady, Status: ready, Reason: reason, Message: message},
		}}
	}
	shop := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 3}
	}
	wide := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Generation: 3} }
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	older := realized
	older.ObservedGeneration = 2
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&v1alpha1.NetworkPolicy{ObjectMeta: shop("web"), Status: realized},
		&v1alpha1.NetworkPolicy{ObjectMeta: shop("db"), Status: failing},
		&v1alpha1.NetworkPolicy{ObjectMeta: shop("new")},
		&v1alpha1.ClusterwidePolicy{ObjectMeta: wide("guard"), Status: realized},
		&v1alpha1.RuntimePolicy{ObjectMeta: shop("db"), Status: older},
		&v1alpha1.ExternalWorkload{ObjectMeta: shop("billing"), Status: peer(no, v1alpha1.ReasonAddressConflict, "192.0.2.5 is pod shop/web")},
		&v1alpha1.ExternalWorkload{ObjectMeta: shop("fine"), Status: peer(yes, v1alpha1.ReasonRealized, "in use")},
		&v1alpha1.AddressGroup{ObjectMeta: wide("partners")},
		&v1alpha1.AddressGroup{ObjectMeta: wide("fine"), Status: peer(yes, v1alpha1.ReasonRealized, "in use")},
	).Build()
	rows, err := statuses(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printList(&out, rows); err != nil {
		t.Fatal(err)
	}
	golden(t, "status.json", out.Bytes())
}

// TestHostIsStable: every field of palisade host -o json, and that lists are never null.
func TestHostIsStable(t *testing.T) {
	for name, tc := range map[string]struct {
		in    nodeagent.InForce
		lacks []host.Finding
	}{
		"host.json": {nodeagent.InForce{
			Node: "n1", Generation: snapshot.Generation{Epoch: 1, Term: 7, Counter: 812}, Digest: snapshot.Digest{0xab, 31: 0xcd},
			Pods: []facts.Attachment{
				{Pod: facts.Pod{Namespace: "shop", Name: "db"}, Addrs: []netip.Addr{netip.MustParseAddr("10.1.0.3"), netip.MustParseAddr("fd00:1::3")}, Host: facts.Interface{Name: "veth1", Index: 7}},
				{Pod: facts.Pod{Namespace: "shop", Name: "bare"}, Host: facts.Interface{Name: "veth2", Index: 8}},
			},
		}, []host.Finding{{Reason: host.Reason(v1alpha1.ReasonSysctlOff), Severity: host.Bypass, What: "bridged traffic does not pass netfilter", Where: "br_netfilter", Mend: "modprobe br_netfilter"}}},
		"host-bare.json": {nodeagent.InForce{Node: "n1", Generation: snapshot.Generation{Counter: 1}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := (&hostOptions{output: "json"}).print(&out, hostOf(tc.in, tc.lacks)); err != nil {
				t.Fatal(err)
			}
			golden(t, name, out.Bytes())
		})
	}
}
