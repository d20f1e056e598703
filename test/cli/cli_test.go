package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/test/kubetest"
)

// palisade is the built command, on one cluster.
type palisade struct {
	binary, kubeconfig string
}

// run returns standard output, standard error and the exit code.
func (p palisade) run(t *testing.T, args ...string) (string, string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.binary, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+p.kubeconfig)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

func TestLive(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "palisade")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "palisade.dev/palisade/cmd/palisade").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	env := kubetest.Start(t)
	p := palisade{binary: binary, kubeconfig: filepath.Join(dir, "kubeconfig")}
	if err := os.WriteFile(p.kubeconfig, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}

	t.Run("without CRDs", func(t *testing.T) {
		_, stderr, code := p.run(t, "reach", "--port", "80/tcp")
		if code != 2 || !strings.Contains(stderr, "install Palisade's CRDs first") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("exit %d, %q; want 2 and one line that says to install the CRDs", code, stderr)
		}
	})

	if _, err := envtest.InstallCRDs(env.Config, envtest.CRDInstallOptions{Paths: []string{"../../config/crd/bases"}, ErrorIfPathMissing: true}); err != nil {
		t.Fatal(err)
	}
	create(t, env.Config)

	t.Run("reach as from files", func(t *testing.T) {
		live, stderr, code := p.run(t, "reach", "--port", "23/tcp,5432/tcp,53/udp", "-o", "json")
		if code != 3 {
			t.Fatalf("exit %d: %s; want 3, as some pairs are denied", code, stderr)
		}
		files, _, _ := p.run(t, "reach", "-f", "shop.yaml", "--port", "23/tcp,5432/tcp,53/udp", "-o", "json")
		if live != files {
			t.Errorf("live:\n%s\nfrom files:\n%s", live, files)
		}
		if !strings.Contains(live, `"verdict":"Deny"`) {
			t.Error("nothing is denied")
		}
	})
	t.Run("explain", func(t *testing.T) { explainLive(t, p) })
	t.Run("explain a process", func(t *testing.T) {
		stdout, stderr, code := p.run(t, "explain", "--pod", "shop/db", "--exec", "/usr/bin/dash")
		if code != 3 || !strings.Contains(stdout, "shop/db/main exec /usr/bin/dash: Kill\n  Kill Namespace rtp/shop/db/executables/shell") {
			t.Errorf("exit %d, %s%s; want 3 and a Kill by the only container's policy", code, stdout, stderr)
		}
	})
	t.Run("refused workload", func(t *testing.T) { refusedWorkload(t, p, env.Config) })
	t.Run("records of no agents", func(t *testing.T) {
		for _, command := range []string{"flows", "events"} {
			_, stderr, code := p.run(t, command, "--cluster")
			if code != 2 || !strings.Contains(stderr, "no agents in the namespace palisade-system") || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s: exit %d, %q; want 2 and one line", command, code, stderr)
			}
		}
	})
	t.Run("status", func(t *testing.T) { statusLive(t, p, env.Config) })
	t.Run("accepted specs", func(t *testing.T) { acceptedLive(t, p, env.Config) })
	t.Run("unreadable specs", func(t *testing.T) { unreadableLive(t, p, env.Config) })
	t.Run("unreachable", func(t *testing.T) {
		broken := regexp.MustCompile(`https://[^"\s]+`).ReplaceAll(env.KubeConfig, []byte("https://127.0.0.1:1"))
		path := filepath.Join(dir, "broken")
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := p.run(t, "status", "--kubeconfig", path)
		if code != 2 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("exit %d, %q; want 2 and one line", code, stderr)
		}
	})
}

func explainLive(t *testing.T, p palisade) {
	type decision struct{ Verdict, Tier, Policy, Rule string }
	for name, tc := range map[string]struct {
		from, to, port string
		code           int
		ingress        decision
	}{
		"named port": {"ew:shop/billing", "shop/db", "5432/tcp", 0, decision{"Allow", "Namespace", "pnp/shop/db", "clients"}},
		"group":      {"203.0.113.7", "shop/db", "5432/tcp", 0, decision{"Allow", "Namespace", "pnp/shop/db", "clients"}},
		"isolated":   {"shop/frontend", "shop/db", "5432/tcp", 3, decision{"Deny", "Namespace", "pnp/shop/db", "(isolated)"}},
		"admin":      {"shop/db", "shop/frontend", "23/tcp", 3, decision{"Deny", "Admin", "cwp/no-telnet", "telnet"}},
		"upstream":   {"shop/db", "default/batch", "80/tcp", 3, decision{"Deny", "Namespace", "netpol/default/closed", "(isolated)"}},
		"own node":   {"node:n1", "shop/db", "1/tcp", 0, decision{"Allow", "Builtin", "builtin/palisade", "(own-node)"}},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := p.run(t, "explain", "--from", tc.from, "--to", tc.to, "--port", tc.port, "-o", "json")
			var answers []struct {
				From, To, Port, Verdict string
				Ingress                 decision
			}
			if err := json.Unmarshal([]byte(stdout), &answers); err != nil || len(answers) != 1 {
				t.Fatalf("exit %d: %s%s: %v", code, stdout, stderr, err)
			}
			if a := answers[0]; code != tc.code || a.Ingress != tc.ingress || a.From != tc.from || a.To != tc.to || a.Port != tc.port {
				t.Errorf("exit %d, %+v; want %d, %+v", code, a, tc.code, tc.ingress)
			}
		})
	}
}

// A workload that the controller has refused is nobody, with all of its addresses.
func refusedWorkload(t *testing.T, p palisade, config *rest.Config) {
	c := clusterClient(t, config, v1alpha1.AddToScheme)
	thief := &v1alpha1.ExternalWorkload{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "thief"},
		Spec:       v1alpha1.ExternalWorkloadSpec{Addresses: []v1alpha1.HostAddress{"10.1.0.1/32", "198.51.100.9/32"}},
	}
	if err := c.Create(t.Context(), thief); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Delete(t.Context(), thief); err != nil {
			t.Error(err)
		}
	}()
	ask := func(generation int64, want int, told string) {
		t.Helper()
		meta.SetStatusCondition(&thief.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonAddressConflict, Message: "10.1.0.1 is the address of pod shop/frontend"})
		thief.Status.ObservedGeneration = generation
		if err := c.Status().Update(t.Context(), thief); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, code := p.run(t, "explain", "--from", "198.51.100.9", "--to", "shop/db", "--port", "5432/tcp")
		if code != want || (told == "") != (stderr == "") || !strings.Contains(stderr, told) {
			t.Errorf("exit %d, %s%s; want %d and %q", code, stdout, stderr, want, told)
		}
	}
	ask(thief.Generation-1, 0, "") // what was refused is another spec
	ask(thief.Generation, 3, "pew/shop/thief is not accepted (10.1.0.1 is the address of pod shop/frontend)")
}

// clusterClient asks the API server about kinds of these groups.
func clusterClient(t *testing.T, config *rest.Config, groups ...func(*runtime.Scheme) error) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range groups {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func statusLive(t *testing.T, p palisade, config *rest.Config) {
	stdout, stderr, code := p.run(t, "status", "-o", "json")
	if code != 0 || strings.Count(stdout, `"ready":"Unknown"`) != 5 || !strings.Contains(stdout, `"policy":"rtp/shop/db"`) {
		t.Errorf("before a controller: exit %d, %s%s; want 0, and three policies and what they refer to Unknown", code, stdout, stderr)
	}
	c := clusterClient(t, config, v1alpha1.AddToScheme)
	var policy v1alpha1.NetworkPolicy
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "db"}, &policy); err != nil {
		t.Fatal(err)
	}
	for _, condition := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed, v1alpha1.ConditionReady} {
		meta.SetStatusCondition(&policy.Status.Conditions, metav1.Condition{
			Type: condition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRealized, Message: "in force on 1 node"})
	}
	// What policies refer to is listed as long as it is not ready.
	var group v1alpha1.AddressGroup
	var workload v1alpha1.ExternalWorkload
	if err := errors.Join(c.Get(t.Context(), types.NamespacedName{Name: "partners"}, &group),
		c.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "billing"}, &workload)); err != nil {
		t.Fatal(err)
	}
	for _, condition := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady} {
		meta.SetStatusCondition(&group.Status.Conditions, metav1.Condition{
			Type: condition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRealized, Message: "in use"})
		meta.SetStatusCondition(&workload.Status.Conditions, metav1.Condition{
			Type: condition, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonAddressConflict, Message: "198.51.100.7 is taken"})
	}
	group.Status.ObservedGeneration, workload.Status.ObservedGeneration = group.Generation, workload.Generation
	if err := errors.Join(c.Status().Update(t.Context(), &group), c.Status().Update(t.Context(), &workload)); err != nil {
		t.Fatal(err)
	}
	stdout, _, _ = p.run(t, "status")
	if !containsFields(stdout, "pew/shop/billing", "False", "False", "False", "AddressConflict") || strings.Contains(stdout, "pag/partners") {
		t.Errorf("with a workload refused and a group in use, status shows\n%s", stdout)
	}
	policy.Status.ObservedGeneration = policy.Generation
	policy.Status.Nodes = v1alpha1.NodeCounts{Desired: 1, Realized: 1}
	policy.Status.Endpoints = 1
	if err := c.Status().Update(t.Context(), &policy); err != nil {
		t.Fatal(err)
	}
	stdout, _, _ = p.run(t, "status")
	if !containsFields(stdout, "pnp/shop/db", "True", "True", "True", "Realized", "1/1", "1", "in", "force") {
		t.Errorf("status shows\n%s", stdout)
	}
	// A new spec that no controller has seen is not ready, whatever is stored.
	policy.Spec.Isolate = v1alpha1.IsolateBoth
	if err := c.Update(t.Context(), &policy); err != nil {
		t.Fatal(err)
	}
	stdout, _, _ = p.run(t, "status")
	if !containsFields(stdout, "pnp/shop/db", "Unknown", "Unknown", "Unknown", "Pending") {
		t.Errorf("after a new spec, status shows\n%s", stdout)
	}
}

// A spec that has not been accepted is not what nodes enforce.
func acceptedLive(t *testing.T, p palisade, config *rest.Config) {
	c := clusterClient(t, config, v1alpha1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme)
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "palisade-system"}}); err != nil {
		t.Fatal(err)
	}
	store := &accepted.Store{Client: c, Namespace: "palisade-system"}
	var policy v1alpha1.NetworkPolicy
	var closed networkingv1.NetworkPolicy
	for _, err := range []error{
		c.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: "db"}, &policy),
		c.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: "closed"}, &closed),
		keep(t, store, &policy), keep(t, store, &closed),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	policy.Spec.Isolate = v1alpha1.IsolateEgress // would open ingress
	if err := c.Update(t.Context(), &policy); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := p.run(t, "explain", "--from", "shop/frontend", "--to", "shop/db", "--port", "80/tcp")
	if code != 3 || !strings.Contains(stderr, "the spec of pnp/shop/db has not been accepted") {
		t.Errorf("exit %d, %q; want 3 by the accepted spec, and a warning", code, stderr)
	}
	_, stderr, code = p.run(t, "explain", "--from", "shop/db", "--to", "shop/frontend", "--port", "23/tcp")
	if code != 3 || !strings.Contains(stderr, "cwp/no-telnet has not been accepted and is in force nowhere") {
		// The accepted spec of pnp/shop/db isolates for egress as well.
		t.Errorf("exit %d, %q; want 3, and cwp/no-telnet left out", code, stderr)
	}
	_, stderr, code = p.run(t, "explain", "--pod", "shop/db", "--exec", "/usr/bin/dash")
	if code != 0 || !strings.Contains(stderr, "rtp/shop/db has not been accepted and is in force nowhere") {
		t.Errorf("exit %d, %q; want 0, and rtp/shop/db left out", code, stderr)
	}
}

// What an accepted spec closes that this version cannot read stays closed, and the
// rest is judged as ever.
func unreadableLive(t *testing.T, p palisade, config *rest.Config) {
	c := clusterClient(t, config, appsv1.AddToScheme)
	var list appsv1.ControllerRevisionList
	if err := c.List(t.Context(), &list, client.InNamespace("palisade-system"), client.MatchingLabels{accepted.Label: "pnp"}); err != nil || len(list.Items) != 1 {
		t.Fatalf("%v: %d records of pnp/shop/db", err, len(list.Items))
	}
	newer := list.Items[0].DeepCopy()
	newer.ResourceVersion, newer.UID = "", ""
	newer.Data.Raw = bytes.Replace(newer.Data.Raw, []byte(`"isolate"`), []byte(`"quic":{},"isolate"`), 1)
	if err := c.Delete(t.Context(), &list.Items[0]); err != nil { // its data cannot be changed
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	for _, judge := range []string{"tables", "reference"} {
		stdout, stderr, code := p.run(t, "explain", "--from", "shop/frontend", "--to", "shop/db", "--port", "5432/tcp", "--judge", judge)
		if code != 3 || !strings.Contains(stdout, "Deny Namespace pnp/shop/db/(unreadable)") || !strings.Contains(stderr, "cannot read the accepted spec of pnp/shop/db") {
			t.Errorf("%s: exit %d, %s%s; want 3 by (unreadable), and a warning", judge, code, stdout, stderr)
		}
	}
	stdout, _, code := p.run(t, "explain", "--from", "shop/frontend", "--to", "default/batch", "--port", "80/tcp")
	if code != 3 || !strings.Contains(stdout, "netpol/default/closed/(isolated)") {
		t.Errorf("another policy: exit %d, %s; want 3 by netpol/default/closed", code, stdout)
	}
}

func keep(t *testing.T, store *accepted.Store, policy client.Object) error {
	r, err := accepted.New(policy)
	if err != nil {
		return err
	}
	return store.Keep(t.Context(), r)
}

// containsFields reports whether a line begins with these fields.
func containsFields(text string, fields ...string) bool {
	for line := range strings.Lines(text) {
		have := strings.Fields(line)
		if len(have) >= len(fields) && strings.Join(have[:len(fields)], " ") == strings.Join(fields, " ") {
			return true
		}
	}
	return false
}

// create puts the objects of shop.yaml into the cluster, with their status.
func create(t *testing.T, config *rest.Config) {
	t.Helper()
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range strings.Split(string(data), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), u); err != nil {
			t.Fatal(err)
		}
		status, hasStatus := u.Object["status"]
		if err := c.Create(t.Context(), u); err != nil {
			t.Fatalf("%s %s: %v", u.GetKind(), u.GetName(), err)
		}
		if hasStatus {
			u.Object["status"] = status
			if err := c.Status().Update(t.Context(), u); err != nil {
				t.Fatalf("status of %s %s: %v", u.GetKind(), u.GetName(), err)
			}
		}
	}
}
