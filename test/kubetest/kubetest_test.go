package kubetest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

func TestServesOurKinds(t *testing.T) {
	if testing.Short() {
		t.Skip("starts an API server")
	}
	config := StartAPIServer(t, WithCRDs())
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.ServerResourcesForGroupVersion("policy.palisade.dev/v1alpha1")
	if err != nil {
		t.Fatalf("resources of our group: %v", err)
	}
	found := map[string]bool{}
	for _, resource := range list.APIResources {
		found[resource.Name] = true
	}
	for _, want := range []string{"networkpolicies", "runtimepolicies", "clusterwidepolicies", "externalworkloads", "addressgroups"} {
		if !found[want] {
			t.Errorf("%s is not served; served: %v", want, found)
		}
	}
	version, err := client.ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(version.GitVersion, "v1.") {
		t.Errorf("version %q: want the stamped one", version.GitVersion)
	}
}

func TestMissingBinariesNameTheCommand(t *testing.T) {
	t.Setenv("PALISADE_CACHE", t.TempDir())
	_, err := NewEnvironment(t.TempDir())
	if !errors.Is(err, errNotBuilt) {
		t.Fatalf("got %v, want %v", err, errNotBuilt)
	}
	if !strings.Contains(err.Error(), "hack/cluster/cluster build") {
		t.Errorf("%q does not name the command that builds them", err)
	}
}

func TestOptionsReachTheEnvironment(t *testing.T) {
	t.Setenv("PALISADE_CACHE", t.TempDir())
	putBinaries(t)
	env, err := NewEnvironment(t.TempDir(), WithCRDs(), WithEnvironment(func(env *envtest.Environment) {
		env.ControlPlane.GetAPIServer().Configure().Append("v", "4")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if len(env.CRDDirectoryPaths) != 1 || !env.ErrorIfCRDPathMissing {
		t.Errorf("CRD paths %v, error if missing %v", env.CRDDirectoryPaths, env.ErrorIfCRDPathMissing)
	}
	if got := env.ControlPlane.GetAPIServer().Configure().Get("v").Get(nil); len(got) != 1 || got[0] != "4" {
		t.Errorf("argument v is %v, want [4]", got)
	}
}

// putBinaries makes empty files where BinDir looks, in the cache that PALISADE_CACHE names.
func putBinaries(t *testing.T) {
	t.Helper()
	bin, err := cachedBinDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
