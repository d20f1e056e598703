package manifests

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"palisade.dev/palisade/policy/model"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func world(t *testing.T, files map[string]string) *World {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	objects, err := FS(t.Context(), fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := objects.World(noon)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWorld(t *testing.T) {
	w := world(t, map[string]string{
		"deep/er/nodes.yml": `
apiVersion: v1
kind: NodeList
items:
- metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 192.0.2.1}, {type: Hostname, address: n1}, {type: InternalIP, address: "2001:db8::1"}]}
`,
		"pods.json": `{"apiVersion":"v1","kind":"PodList","items":[
  {"metadata":{"name":"a"},"spec":{"nodeName":"n1"},"status":{"podIP":"10.0.0.1"}},
  {"metadata":{"name":"host","namespace":"sys"},"spec":{"nodeName":"n1","hostNetwork":true}}]}`,
		".hidden/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: hidden}\n",
		"notes.txt":        "not a manifest",
		"policy.yaml": `
# A comment, and an empty document before the first.
---
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: p}
spec: {subject: {pods: {}}, isolate: Both, expiresAt: "2026-11-23T12:00:00Z"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
`,
	})
	var names []string
	for _, e := range w.Cluster.Endpoints {
		names = append(names, e.Class().String()+" "+e.ID.String())
	}
	if have, want := strings.Join(names, ", "), "pod default/a, host pod sys/host, node n1"; have != want {
		t.Errorf("endpoints: %s; want %s", have, want)
	}
	if a := w.Cluster.Endpoints[2].Addresses; len(a) != 2 {
		t.Errorf("addresses of the node: %v, want both families", a)
	}
	if a := w.HostPods["sys/host"]; len(a) != 2 || a[0] != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("host pod: %v, want the addresses of its node", a)
	}
	var namespaces []string
	for _, ns := range w.Cluster.Namespaces {
		namespaces = append(namespaces, ns.Name+"="+ns.Labels["kubernetes.io/metadata.name"])
	}
	if have, want := strings.Join(namespaces, " "), "default=default sys=sys"; have != want {
		t.Errorf("namespaces: %s; want %s", have, want)
	}
	if p := w.Cluster.Policies; len(p) != 1 || p[0].Ref.Namespace != "default" || p[0].Mode != model.Enforce || !p[0].Expired {
		t.Errorf("policies: %+v; want default/p, its mode filled in, expired", p)
	}
}

func TestProblemsSayWhere(t *testing.T) {
	fsys := fstest.MapFS{"p.yaml": {Data: []byte("\n# one\n\napiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: 1}}\n--- # two\n\nkind: Pod\n")}}
	_, err := FS(t.Context(), fsys, Options{})
	if err == nil {
		t.Fatal("FS took it")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "p.yaml:4: Pod default/a: ") || !strings.HasPrefix(lines[1], "p.yaml:9: Pod: apiVersion") {
		t.Errorf("problems:\n%s", err)
	}
}

// Whatever a file holds, reading it ends with objects or with problems of one
// line each that name the file.
func FuzzReadFile(f *testing.F) {
	for _, seed := range []string{
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n",
		"apiVersion: policy.palisade.dev/v1alpha1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: {subject: {pods: {}}, isolate: Both}\n",
		"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: a}}, 7, null]\n",
		"apiVersion: v1\nkind: PodList\nitems: null\n",
		"---\n---\n--- x\n", "{", "[]", "7", "a: &a [*a]", "kind: 7\napiVersion: {}\nmetadata: []\n",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: 7, namespace: [x]}\nspec: null\nstatus: {podIPs: {}}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := FS(t.Context(), fstest.MapFS{"f.yaml": {Data: data}}, Options{})
		if err == nil {
			_, err = objects.World(noon)
		}
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			if !strings.HasPrefix(line, "f.yaml") && !strings.HasPrefix(line, "endpointslice/") {
				t.Errorf("a problem without its file: %q", line)
			}
		}
	})
}
