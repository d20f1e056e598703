package corpus_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"palisade.dev/palisade/cmd/palisade/judge"
	"palisade.dev/palisade/test/corpus"
)

// shop is the namespace that documents write policies for.
const shop = `
-- cluster.yaml --
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: frontend, labels: {app: frontend}}
spec:
  nodeName: n1
status: {podIPs: [{ip: "10.1.0.1"}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: backend, labels: {app: backend}}
spec:
  nodeName: n2
  containers:
  - name: main
    ports:
    - {name: http, containerPort: 8080}
    - {name: metrics, containerPort: 9100}
status: {podIPs: [{ip: "10.1.0.2"}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec:
  nodeName: n2
status: {podIPs: [{ip: "10.1.0.3"}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: kube-system, name: dns, labels: {k8s-app: kube-dns}}
spec:
  nodeName: n1
status: {podIPs: [{ip: "10.1.0.4"}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: kube-system, name: other}
spec:
  nodeName: n1
status: {podIPs: [{ip: "10.1.0.5"}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: outside, name: frontend, labels: {app: frontend}}
spec:
  nodeName: n2
status: {podIPs: [{ip: "10.1.1.1"}]}
`

// inShop is, by document and place in it, what the text around an example says that it does
// to shop.
var inShop = map[string]string{
	"docs/network-policy.md#0": `
# frontend reaches the port http of backend
shop/frontend -> shop/backend 8080/tcp Allow egress=pnp/shop/frontend/backend ingress=pnp/shop/backend/frontend
shop/frontend -> shop/backend 9100/tcp Deny egress=pnp/shop/default-deny/(isolated) ingress=pnp/shop/backend/(isolated)
# pods of shop resolve names
shop/frontend -> kube-system/dns 53/udp Allow egress=pnp/shop/default-deny/dns
shop/db -> kube-system/dns 53/tcp Allow egress=pnp/shop/default-deny/dns
# other connections from or to shop are denied
shop/db -> kube-system/dns 9153/tcp Deny egress=pnp/shop/default-deny/(isolated)
shop/db -> kube-system/other 53/udp Deny egress=pnp/shop/default-deny/(isolated)
shop/frontend -> shop/db 5432/tcp Deny egress=pnp/shop/default-deny/(isolated) ingress=pnp/shop/default-deny/(isolated)
shop/backend -> shop/frontend 80/tcp Deny egress=pnp/shop/default-deny/(isolated) ingress=pnp/shop/default-deny/(isolated)
shop/frontend -> 203.0.113.1 443/tcp Deny egress=pnp/shop/default-deny/(isolated)
outside/frontend -> shop/backend 8080/tcp Deny ingress=pnp/shop/backend/(isolated)
203.0.113.1 -> shop/db 5432/tcp Deny ingress=pnp/shop/default-deny/(isolated)
# and nobody else's
outside/frontend -> kube-system/other 80/tcp Allow
`,
	"README.md#0": `
shop/backend -> shop/db 5432/tcp Allow ingress=pnp/shop/db/backend
shop/frontend -> shop/db 5432/tcp Deny ingress=pnp/shop/db/(isolated)
shop/backend -> shop/db 22/tcp Deny ingress=pnp/shop/db/(isolated)
shop/db -> shop/backend 8080/tcp Allow
`,
}

// notPolicies are the examples that are for other tools.
var notPolicies = map[string]bool{
	"docs/install.md#0": true, // of kustomize
	"docs/install.md#1": true,
}

// TestExamplesOfDocuments: what people copy from a document is well-formed, compiles, and
// does what the document says.
func TestExamplesOfDocuments(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, example := range fenced(string(data), "yaml") {
			short, _ := filepath.Rel(root, page)
			name := fmt.Sprintf("%s#%d", filepath.ToSlash(short), i)
			if found[name] = true; notPolicies[name] {
				continue
			}
			t.Run(name, func(t *testing.T) { checkExample(t, name, example) })
		}
	}
	for name := range inShop {
		if !found[name] {
			t.Errorf("%s is no example", name)
		}
	}
	for name := range notPolicies {
		if !found[name] {
			t.Errorf("%s is no example", name)
		}
	}
}

func checkExample(t *testing.T, name, example string) {
	if !strings.HasPrefix(example, "apiVersion: ") {
		// A part of a spec, indented as there.
		example = "apiVersion: policy.palisade.dev/v1alpha1\nkind: RuntimePolicy\nmetadata: {name: part, namespace: shop}\nspec:\n  subject: {pods: {}}\n" + example
	}
	expect := inShop[name]
	if expect == "" {
		expect = "outside/frontend -> kube-system/other 80/tcp Allow\n"
	}
	s, err := corpus.Parse(t.Context(), name, []byte("An example."+shop+"-- example.yaml --\n"+example+"-- expect --\n"+expect))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Cluster.Policies) == 0 {
		t.Fatal("it holds no policy")
	}
	if _, err := judge.Compile(s.Cluster); err != nil {
		t.Fatal(err)
	}
	for judge, make := range judges {
		ask, err := make(s.Cluster)
		if err != nil {
			t.Fatal(err)
		}
		wrong, err := s.Check(ask)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range wrong {
			t.Errorf("%s: %s", judge, w)
		}
	}
}

// fenced returns the code of a language in a document.
func fenced(page, language string) []string {
	var out []string
	for {
		_, rest, ok := strings.Cut(page, "\n```"+language+"\n")
		if !ok {
			return out
		}
		code, after, ok := strings.Cut(rest, "\n```")
		if !ok {
			return append(out, rest)
		}
		out, page = append(out, code+"\n"), after
	}
}
