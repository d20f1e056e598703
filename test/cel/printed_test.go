package cel

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/test/kubetest"
)

// TestColumns reads what kubectl get prints, header and cells, for an object of
// each kind that has a status. The age is left out.
func TestColumns(t *testing.T) {
	s := startServer(t)
	const peer = `{observedGeneration: 1, conditions: [{type: Ready, status: "True", reason: Realized, message: "", lastTransitionTime: "2026-11-23T00:00:00Z"}]}`
	const policy = `{observedGeneration: 1, endpoints: 4, nodes: {desired: 40, realized: 39, failed: 0, unreachable: 1}, conditions: [{type: Ready, status: "False", reason: NodeLate, message: "n1 is late", lastTransitionTime: "2026-11-23T00:00:00Z"}]}`
	for name, tc := range map[string]struct {
		sample, path, status string
		want                 string
	}{
		"pnp": {"networkpolicy", "namespaces/default/networkpolicies", policy, "Name=database Isolate=Both Mode=Enforce Ready=False Reason=NodeLate Realized=39 Nodes=40"},
		"cwp": {"clusterwidepolicy", "clusterwidepolicies", policy, "Name=no-metadata Tier=Admin Priority=10 Mode=Enforce Ready=False Reason=NodeLate Realized=39 Nodes=40"},
		"pew": {"externalworkload", "namespaces/default/externalworkloads", peer, `Name=billing Addresses=["203.0.113.7/32","2001:db8::7/128"] Ready=True Reason=Realized`},
		"pag": {"addressgroup", "addressgroups", peer, "Name=branch-offices Ready=True Reason=Realized"},
		"rtp": {"runtimepolicy", "namespaces/default/runtimepolicies", policy, "Name=database Mode=Enforce Backend=Prevent Ready=False Reason=NodeLate Realized=39 Nodes=40"},
	} {
		t.Run(name, func(t *testing.T) {
			document := documents(t, "../../config/samples")[tc.sample+".yaml#0"]
			object := &unstructured.Unstructured{Object: parse(t, document).(map[string]any)}
			if err := s.strict.Create(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			object.Object["status"] = wholeNumbers(parse(t, tc.status))
			if err := s.strict.Status().Update(t.Context(), object); err != nil {
				t.Fatal(err)
			}
			if have := s.printed(t, tc.path); have != tc.want {
				t.Errorf("kubectl get prints\n%s\nwant\n%s", have, tc.want)
			}
		})
	}
}

// printed asks for the table that kubectl get asks for, and returns its first
// row without the columns of -o wide.
func (s server) printed(t *testing.T, path string) string {
	t.Helper()
	httpClient, err := rest.HTTPClientFor(s.config)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("%s/apis/%s/%s", strings.TrimSuffix(s.config.Host, "/"), v1alpha1.GroupVersion, path)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	var table metav1.Table
	// An API server that has not yet filled its cache of a new kind says 429.
	ask := func(context.Context) (bool, error) {
		response, err := httpClient.Do(request)
		if err != nil {
			return false, err
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusTooManyRequests {
			return false, nil
		}
		return true, json.NewDecoder(response.Body).Decode(&table)
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, ask); err != nil {
		t.Fatal(err)
	}
	if len(table.Rows) != 1 {
		t.Fatalf("%s: %d rows, want 1", path, len(table.Rows))
	}
	var cells []string
	for i, column := range table.ColumnDefinitions {
		if column.Priority == 0 && column.Name != "Age" {
			cells = append(cells, fmt.Sprintf("%s=%v", column.Name, table.Rows[0].Cells[i]))
		}
	}
	return strings.Join(cells, " ")
}

// TestKinds checks what is the same for every kind: how it is found, and that
// status is written by itself.
func TestKinds(t *testing.T) {
	short := map[string]string{
		v1alpha1.KindNetworkPolicy:     v1alpha1.ShortNetworkPolicy,
		v1alpha1.KindClusterwidePolicy: v1alpha1.ShortClusterwidePolicy,
		v1alpha1.KindRuntimePolicy:     v1alpha1.ShortRuntimePolicy,
		v1alpha1.KindExternalWorkload:  v1alpha1.ShortExternalWorkload,
		v1alpha1.KindAddressGroup:      v1alpha1.ShortAddressGroup,
	}
	crds := loadCRDs(t)
	if have, want := slices.Sorted(maps.Keys(crds)), slices.Sorted(maps.Keys(short)); !slices.Equal(have, want) {
		t.Fatalf("CRDs of %v, want %v", have, want)
	}
	for kind, crd := range crds {
		names := crd.Spec.Names
		if !slices.Equal(names.ShortNames, []string{short[kind]}) || !slices.Equal(names.Categories, []string{"palisade"}) {
			t.Errorf("%s: short names %v, categories %v", kind, names.ShortNames, names.Categories)
		}
		if version := crd.Spec.Versions[0]; version.Subresources == nil || version.Subresources.Status == nil {
			t.Errorf("%s has no status subresource", kind)
		}
	}
}

// TestKustomizations builds every kustomization of this folder's subject and
// looks for each kind in it.
func TestKustomizations(t *testing.T) {
	if testing.Short() {
		t.Skip("needs kubectl")
	}
	kinds := slices.Sorted(maps.Keys(loadCRDs(t)))
	crds := kustomize(t, "../../config/crd")
	samples := kustomize(t, "../../config/samples")
	for _, kind := range kinds {
		if !strings.Contains(crds, "\n    kind: "+kind+"\n") {
			t.Errorf("config/crd lacks %s", kind)
		}
		if !strings.Contains(samples, "\nkind: "+kind+"\n") {
			t.Errorf("config/samples lacks %s", kind)
		}
	}

	var argocd corev1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(kustomize(t, argocdDir)), &argocd); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(argocdDir, "health.lua"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, kind := range kinds {
		want["resource.customizations.health."+v1alpha1.GroupName+"_"+kind] = string(script)
	}
	if argocd.Name != "argocd-cm" || argocd.Namespace != "argocd" || !maps.Equal(argocd.Data, want) {
		t.Errorf("config/argocd gives %s/%s with keys %v, want the script under %v", argocd.Namespace, argocd.Name,
			slices.Sorted(maps.Keys(argocd.Data)), slices.Sorted(maps.Keys(want)))
	}
}

func kustomize(t *testing.T, dir string) string {
	t.Helper()
	bin, err := kubetest.BinDir()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "kubectl"), "kustomize", dir).Output()
	if err != nil {
		t.Fatalf("kubectl kustomize %s: %v", dir, err)
	}
	return string(out)
}
