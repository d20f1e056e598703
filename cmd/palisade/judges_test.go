package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/model"
)

// crowdedWorld has two policies of which either fits and both together do not.
func crowdedWorld(t *testing.T) *manifests.World {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{apiVersion: v1, kind: Node, metadata: {name: n1}}
---
{apiVersion: v1, kind: Pod, metadata: {namespace: shop, name: db}, spec: {nodeName: n1, containers: [{name: main}]}, status: {podIPs: [{ip: 10.1.0.1}]}}
`)
	for i, name := range []string{"first", "second"} {
		fmt.Fprintf(&b, "---\n{apiVersion: policy.palisade.dev/v1alpha1, kind: RuntimePolicy, metadata: {namespace: shop, name: %s}, spec: {subject: {pods: {}}, network: {rules: [", name)
		for r := range 40 {
			fmt.Fprintf(&b, "{name: r%d, action: Deny, operations: [Connect], peers: [{ipBlock: {cidr: 10.%d.%d.0/24}}]}, ", r, i, r)
		}
		b.WriteString("]}}}\n")
	}
	file := filepath.Join(t.TempDir(), "crowded.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	objects, err := manifests.Read(t.Context(), []string{file}, manifests.Options{})
	if err != nil {
		t.Fatal(err)
	}
	world, err := objects.World(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return world
}

// TestWhatDoesNotFit: of manifests it is an error; on a live cluster nodes enforce
// something in the place of what was accepted last.
func TestWhatDoesNotFit(t *testing.T) {
	first, second := model.PolicyRef{Kind: model.KindRuntime, Namespace: "shop", Name: "first"}, model.PolicyRef{Kind: model.KindRuntime, Namespace: "shop", Name: "second"}
	world := crowdedWorld(t)
	if _, err := compileWorld(world, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "rtp/shop/second: 80 network rules") {
		t.Errorf("of manifests: %v", err)
	}
	for name, test := range map[string]struct{ old, new model.PolicyRef }{
		"by name": {first, second}, "against names": {second, first},
	} {
		t.Run(name, func(t *testing.T) {
			world.AcceptedAt = map[model.PolicyRef]time.Time{test.old: time.Unix(1000, 0), test.new: time.Unix(2000, 0)}
			var stderr bytes.Buffer
			ask, err := (&judgeFlag{"tables"}).makeRuntime(world, &stderr)
			if err != nil {
				t.Fatal(err)
			}
			if text := stderr.String(); !strings.HasPrefix(text, "palisade: warning: "+test.new.String()+": 80 network rules") || strings.Count(text, "\n") != 1 {
				t.Errorf("told %q", text)
			}
			op := model.Operation{Section: model.SectionNetwork, Bits: uint32(model.SocketConnect), Proto: model.ProtoTCP, Port: 80}
			op.Address = world.Cluster.Endpoints[0].Addresses[0]
			answers, err := ask(world.Cluster.Endpoints[0], "main", []model.Operation{op})
			if err != nil {
				t.Fatal(err)
			}
			if by := answers[0].Enforced.By; by.Policy != test.new || by.Rule != "network/(over-capacity)" || answers[0].Enforced.Verdict != model.Deny {
				t.Errorf("judged %+v", answers[0].Enforced)
			}
		})
	}
}
