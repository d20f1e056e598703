package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/test/corpus"
)

// shortCorpus are the scenarios that are played unless all are asked for.
var shortCorpus = []string{
	"admin-pass", "api-example-db", "baseline", "dual-stack", "isolate", "named-port-egress", "upstream-peers",
}

// TestCorpus plays scenarios of the corpus with real pods, and compares what
// connects with what the reference evaluator says of the cluster as it then is:
// the pods have other addresses than in the scenario, so a block there means
// others here. Attribution is the business of the judges that give one.
func TestCorpus(t *testing.T) {
	all, err := corpus.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var playable []*corpus.Scenario
	for _, s := range all {
		if playableWithPods(s) {
			playable = append(playable, s)
		}
	}
	played := 0
	for _, s := range playable {
		if os.Getenv("PALISADE_FULL") == "" && !slices.Contains(shortCorpus, s.Name) {
			continue
		}
		played++
		t.Run(s.Name, func(t *testing.T) { play(t, s) })
	}
	fmt.Printf("ran %d of %d scenarios with real pods\n", played, len(playable))
	if played < len(shortCorpus) {
		t.Errorf("played %d scenarios, want at least %d", played, len(shortCorpus))
	}
}

// playableWithPods reports whether a scenario asks something about two running
// pods that TCP or UDP can answer. The pods of a host have the host's ports.
func playableWithPods(s *corpus.Scenario) bool {
	for _, p := range s.Objects.Pods {
		if p.Spec.HostNetwork || p.Status.Phase != "" {
			return false
		}
	}
	return len(questions(s)) > 0
}

// question is a line of a scenario between pods, as NAMESPACE/NAME.
type question struct {
	from, to string
	proto    model.Protocol
	port     model.Port
}

func questions(s *corpus.Scenario) []question {
	pods := map[string]bool{}
	for _, p := range s.Objects.Pods {
		pods[p.Namespace+"/"+p.Name] = true
	}
	var out []question
	for _, e := range s.Expect {
		c := e.Connections[0]
		if pods[e.From] && pods[e.To] && e.From != e.To && (c.Proto == model.ProtoTCP || c.Proto == model.ProtoUDP) {
			out = append(out, question{e.From, e.To, c.Proto, c.Port})
		}
	}
	return out
}

func play(t *testing.T, s *corpus.Scenario) {
	st := &stage{id: fmt.Sprintf("c%06x", rand.IntN(1<<24)), scenario: s}
	namespaces, pods, rest := st.objects(t)
	t.Cleanup(func() {
		// Clusterwide policies first: they must not outlive what they are about.
		for _, list := range []string{rest, namespaces} {
			if _, err := kubectl(list, "delete", "--wait=false", "--ignore-not-found", "-f", "-"); err != nil {
				t.Error(err)
			}
		}
	})
	must(t, namespaces, "apply", "-f", "-")
	must(t, pods, "apply", "-f", "-")
	must(t, rest, "apply", "-f", "-")
	for ns := range st.namespaces {
		must(t, "", "wait", "-n", st.rename(ns), "--for=condition=Ready", "pod", "--all", "--timeout=60s")
	}

	running := map[string]pod{}
	for _, p := range s.Objects.Pods {
		running[p.Namespace+"/"+p.Name] = lookUp(t, st.rename(p.Namespace), p.Name)
	}
	for from, list := range st.byClient() {
		want := st.wanted(t, running, list)
		expect(t, running[from], want)
	}
}

// stage is a scenario under names of its own, so that several do not meet.
type stage struct {
	id         string
	scenario   *corpus.Scenario
	namespaces map[string]bool
}

func (st *stage) rename(namespace string) string { return st.id + "-" + namespace }

func (st *stage) byClient() map[string][]question {
	out := map[string][]question{}
	for _, q := range questions(st.scenario) {
		out[q.from] = append(out[q.from], q)
	}
	return out
}

// wanted asks the reference evaluator about the cluster as it is.
func (st *stage) wanted(t *testing.T, running map[string]pod, list []question) map[string]bool {
	t.Helper()
	ask, err := judge.Reference(liveCluster(t))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	var conns []model.Connection
	for _, q := range list {
		from, to := running[q.from], running[q.to]
		proto := map[model.Protocol]string{model.ProtoTCP: "tcp", model.ProtoUDP: "udp"}[q.proto]
		targets = append(targets, fmt.Sprintf("%s/%s:%d", proto, to.ip4, q.port), fmt.Sprintf("%s/[%s]:%d", proto, to.ip6, q.port))
		for _, pair := range [][2]string{{from.ip4, to.ip4}, {from.ip6, to.ip6}} {
			conns = append(conns, model.Connection{
				From: netip.MustParseAddr(pair[0]), To: netip.MustParseAddr(pair[1]), Proto: q.proto, Port: q.port})
		}
	}
	outcomes, err := ask(conns)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for i, target := range targets {
		want[target] = outcomes[i].Verdict() == model.Allow
	}
	return want
}

// liveCluster reads all that policy is computed from.
func liveCluster(t *testing.T) model.Cluster {
	t.Helper()
	objects, err := manifests.FS(t.Context(), fstest.MapFS{
		"cluster.json":  {Data: []byte(must(t, "", "get", "namespaces,nodes,pods", "-A", "-o", "json"))},
		"slices.json":   {Data: []byte(must(t, "", "get", "endpointslices", "-n", "default", "-o", "json"))},
		"policies.json": {Data: []byte(must(t, "", "get", "pnp,cwp,pew,pag,networkpolicies.networking.k8s.io", "-A", "-o", "json"))},
	}, manifests.Options{})
	if err != nil {
		t.Fatal(err)
	}
	world, err := objects.World(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return world.Cluster
}

// objects are the scenario's manifests under the stage's names: namespaces, pods
// that serve and dial, and everything else. Nodes are those that there are.
func (st *stage) objects(t *testing.T) (namespaces, pods, rest string) {
	t.Helper()
	st.namespaces = map[string]bool{}
	for _, p := range st.scenario.Objects.Pods {
		st.namespaces[p.Namespace] = true
	}
	labels := map[string]map[string]any{}
	var others []*unstructured.Unstructured
	for _, f := range st.scenario.Archive.Files {
		for doc := range strings.SplitSeq(string(f.Data), "\n---\n") {
			u := &unstructured.Unstructured{}
			if f.Name == "expect" || yaml.Unmarshal([]byte(doc), &u.Object) != nil || u.GetKind() == "" {
				continue
			}
			switch u.GetKind() {
			case "Namespace":
				st.namespaces[u.GetName()] = true
				labels[u.GetName()] = map[string]any{}
				for k, v := range u.GetLabels() {
					if k != metadataName {
						labels[u.GetName()][k] = v
					}
				}
			case "Pod", "Node", "EndpointSlice":
			default:
				if u.GetNamespace() != "" {
					st.namespaces[u.GetNamespace()] = true
				}
				others = append(others, u)
			}
		}
	}
	var list [3][]any
	for _, name := range slices.Sorted(maps.Keys(st.namespaces)) {
		set := map[string]any{stageLabel: st.id}
		maps.Copy(set, labels[name])
		list[0] = append(list[0], map[string]any{"apiVersion": "v1", "kind": "Namespace",
			"metadata": map[string]any{"name": st.rename(name), "labels": set}})
	}
	for i := range st.scenario.Objects.Pods {
		list[1] = append(list[1], st.podObject(i))
	}
	for _, u := range others {
		st.move(u)
		list[2] = append(list[2], u.Object)
	}
	var out [3]string
	for i := range list {
		data, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": list[i]})
		if err != nil {
			t.Fatal(err)
		}
		out[i] = string(data)
	}
	return out[0], out[1], out[2]
}

const (
	stageLabel   = "palisade.dev/e2e"
	metadataName = "kubernetes.io/metadata.name"
)

// podObject is a pod of the scenario that serves every port that is asked for.
func (st *stage) podObject(i int) map[string]any {
	p := &st.scenario.Objects.Pods[i]
	ports := map[model.Protocol][]string{}
	for _, q := range questions(st.scenario) {
		if text := fmt.Sprint(q.port); !slices.Contains(ports[q.proto], text) {
			ports[q.proto] = append(ports[q.proto], text)
		}
	}
	args := []any{"serve"}
	for proto, flag := range map[model.Protocol]string{model.ProtoTCP: "--tcp", model.ProtoUDP: "--udp"} {
		if len(ports[proto]) > 0 {
			args = append(args, flag, strings.Join(ports[proto], ","))
		}
	}
	node := p.Spec.NodeName
	if node != "n1" && node != "n2" {
		node = "n1"
	}
	var named []any
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			entry := map[string]any{"name": port.Name, "containerPort": port.ContainerPort}
			if port.Protocol != "" {
				entry["protocol"] = string(port.Protocol)
			}
			named = append(named, entry)
		}
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"namespace": st.rename(p.Namespace), "name": p.Name, "labels": p.Labels},
		"spec": map[string]any{
			"terminationGracePeriodSeconds": 0, "nodeName": node,
			"containers": []any{map[string]any{
				"name": "server", "image": "palisade.dev/probe:dev", "imagePullPolicy": "IfNotPresent",
				"args":  args,
				"ports": named,
			}},
		},
	}
}

// move gives an object the stage's names. A clusterwide policy is about the
// stage's namespaces only: the cluster has others that must go on working.
func (st *stage) move(u *unstructured.Unstructured) {
	if ns := u.GetNamespace(); ns != "" {
		u.SetNamespace(st.rename(ns))
	}
	st.renameSelectors(u.Object)
	if u.GetKind() != "ClusterwidePolicy" {
		return
	}
	u.SetName(st.id + "-" + u.GetName())
	subject, _, _ := unstructured.NestedMap(u.Object, "spec", "subject")
	for _, path := range [][]string{{"namespaces"}, {"pods", "namespaceSelector"}, {"externalWorkloads", "namespaceSelector"}} {
		if _, found, _ := unstructured.NestedMap(subject, path...); found {
			_ = unstructured.SetNestedField(u.Object, st.id, slices.Concat([]string{"spec", "subject"}, path, []string{"matchLabels", stageLabel})...)
		}
	}
}

// renameSelectors follows selectors of namespaces by name.
func (st *stage) renameSelectors(value any) {
	switch v := value.(type) {
	case map[string]any:
		if name, ok := v[metadataName].(string); ok && st.namespaces[name] {
			v[metadataName] = st.rename(name)
		}
		for _, x := range v {
			st.renameSelectors(x)
		}
	case []any:
		for _, x := range v {
			st.renameSelectors(x)
		}
	}
}
