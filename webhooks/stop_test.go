package webhooks

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/webhooks/rules"
)

// ruled is a clusterwide runtime policy about a namespace by its label.
func ruled(namespace string, rules v1alpha1.RuntimeRules) *v1alpha1.ClusterwidePolicy {
	selector := labelled("kubernetes.io/metadata.name", namespace)
	out := onlyRuntime("p", v1alpha1.ClusterwidePolicySubject{Namespaces: &selector})
	out.Spec.Runtime.RuntimeRules = rules
	return out
}

func TestWhatTheSystemHasToDo(t *testing.T) {
	rule := v1alpha1.RuntimeRule{Name: "r", Action: v1alpha1.ActionDeny}
	kernel := v1alpha1.RuntimeRules{Privileges: &v1alpha1.PrivilegeSection{Rules: []v1alpha1.PrivilegeRule{
		{RuntimeRule: rule, Operations: []v1alpha1.PrivilegeOperation{"LoadModule", "LoadBPF"}},
	}}}
	capability := v1alpha1.RuntimeRules{Privileges: &v1alpha1.PrivilegeSection{Rules: []v1alpha1.PrivilegeRule{
		{RuntimeRule: rule, Operations: []v1alpha1.PrivilegeOperation{"Capability"}, Capabilities: []v1alpha1.Capability{"PERFMON"}},
	}}}
	other := v1alpha1.RuntimeRules{Privileges: &v1alpha1.PrivilegeSection{Rules: []v1alpha1.PrivilegeRule{
		{RuntimeRule: rule, Operations: []v1alpha1.PrivilegeOperation{"Capability"}, Capabilities: []v1alpha1.Capability{"SYS_TIME"}},
	}}}
	readOnly := v1alpha1.RuntimeRules{Files: &v1alpha1.FileSection{Rules: []v1alpha1.FileRule{
		{RuntimeRule: rule, PathMatch: v1alpha1.PathMatch{Directories: []v1alpha1.Path{"/var"}}, ReadOnly: true},
	}}}
	bundles := v1alpha1.RuntimeRules{Files: &v1alpha1.FileSection{Rules: []v1alpha1.FileRule{
		{RuntimeRule: rule, PathMatch: v1alpha1.PathMatch{Directories: []v1alpha1.Path{"/run/containerd"}}},
	}}}
	connects := v1alpha1.RuntimeRules{Network: &v1alpha1.SocketSection{Rules: []v1alpha1.SocketRule{
		{RuntimeRule: rule, Operations: []v1alpha1.SocketOperation{"Connect"}, SocketMatch: v1alpha1.SocketMatch{
			Peers: []v1alpha1.Peer{{IPBlock: &v1alpha1.IPBlock{CIDR: "10.90.0.1/32"}}},
		}},
	}}}
	listens := v1alpha1.RuntimeRules{Network: &v1alpha1.SocketSection{Rules: []v1alpha1.SocketRule{
		{RuntimeRule: rule, Operations: []v1alpha1.SocketOperation{"Listen"}},
	}}}
	allowList := noShell(systemNamespace, "p", labelled(SystemLabel, SystemLabelValue))
	allowList.Spec.Executables = &v1alpha1.ExecutableSection{Default: v1alpha1.ActionDeny}
	withOrigin := allowList.DeepCopy()
	withOrigin.Spec.Executables.Rules = []v1alpha1.ExecutableRule{
		{RuntimeRule: v1alpha1.RuntimeRule{Name: "shipped", Action: v1alpha1.ActionAccept}, Origins: []v1alpha1.Origin{v1alpha1.OriginImage}},
	}
	audit := allowList.DeepCopy()
	audit.Spec.Mode = v1alpha1.ModeAudit
	sidecar := allowList.DeepCopy()
	sidecar.Spec.Subject.Containers = []v1alpha1.ContainerName{"sidecar"}

	for name, tc := range map[string]struct {
		policy  any
		refused string
	}{
		"eBPF":                        {ruled(systemNamespace, kernel), "spec.runtime.privileges: privileges/r of cwp/p denies pod palisade-system/agent-n1 to load eBPF programs: "},
		"eBPF elsewhere":              {ruled("shop", kernel), ""},
		"a capability":                {ruled(systemNamespace, capability), "to use the capability PERFMON"},
		"a capability that is unused": {ruled(systemNamespace, other), ""},
		"its files":                   {ruled(systemNamespace, readOnly), "spec.runtime.files: files/r of cwp/p denies pod palisade-system/agent-n1 to write /var/lib/palisade/snapshot"},
		"what containers are called":  {ruled(systemNamespace, bundles), "denies pod palisade-system/agent-n1 to read /run/containerd/"},
		"the API server":              {ruled(systemNamespace, connects), "denies pod palisade-system/controller to the API server, port 6443"},
		"listening":                   {ruled(systemNamespace, listens), "denies pod palisade-system/controller to listen on port 9443"},
		"an allow-list without it":    {allowList, "spec.executables: executables/(isolated) of rtp/palisade-system/p denies pod palisade-system/controller to execute /controller (and 1 more): "},
		"an allow-list with it":       {withOrigin, ""},
		"an allow-list in Audit":      {audit, ""},
		"of another container":        {sidecar, ""},
		"a shell":                     {noShell(systemNamespace, "p", labelled(SystemLabel, SystemLabelValue)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, rules.Modules(), &fakeCluster{system: testSystem()})
			verdict, err := e.Judge(t.Context(), policyRequest(t, tc.policy))
			if err != nil {
				t.Fatal(err)
			}
			expectOne(t, "refusal", verdict.Refused, tc.refused)
		})
	}
}

// What the system has to do is written down here, because the controller keeps no
// more of pods than their labels and ports. It is what the manifests say.
func TestProgramsAreThoseOfTheManifests(t *testing.T) {
	var deployment appsv1.Deployment
	var daemonSet appsv1.DaemonSet
	readFirst(t, "../config/controller/deployment.yaml", &deployment)
	readFirst(t, "../config/nodeagent/daemonset.yaml", &daemonSet)
	templates := map[string]corev1.PodTemplateSpec{}
	for _, template := range []corev1.PodTemplateSpec{deployment.Spec.Template, daemonSet.Spec.Template} {
		templates[template.Labels[nameLabel]] = template
	}
	for _, p := range programs {
		template, ok := templates[p.name]
		if !ok {
			t.Errorf("no manifest of %s", p.name)
			continue
		}
		if template.Labels[SystemLabel] != SystemLabelValue {
			t.Errorf("%s is not labelled as part of the system", p.name)
		}
		i := slices.IndexFunc(template.Spec.Containers, func(c corev1.Container) bool { return c.Name == p.container })
		if i < 0 {
			t.Errorf("%s has no container %s", p.name, p.container)
			continue
		}
		container := template.Spec.Containers[i]
		if len(container.Command) == 0 || container.Command[0] != p.executable {
			t.Errorf("%s executes %v, not %s", p.name, container.Command, p.executable)
		}
		var added []v1alpha1.Capability
		for _, c := range container.SecurityContext.Capabilities.Add {
			added = append(added, v1alpha1.Capability(c))
		}
		if !slices.Equal(added, p.capabilities) {
			t.Errorf("%s has the capabilities %v, not %v", p.name, added, p.capabilities)
		}
		for _, path := range append(slices.Clone(p.writes), p.reads...) {
			mounted := slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool {
				return strings.HasPrefix(path, m.MountPath+"/") && (!m.ReadOnly || !slices.Contains(p.writes, path))
			})
			// Kubernetes mounts this one by itself unless it is told not to.
			account := strings.HasPrefix(path, "/var/run/secrets/kubernetes.io/serviceaccount/") &&
				(template.Spec.AutomountServiceAccountToken == nil || *template.Spec.AutomountServiceAccountToken)
			if !mounted && !account {
				t.Errorf("%s: %s is on no volume", p.name, path)
			}
		}
	}
}

func readFirst(t *testing.T, file string, into any) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := yaml.NewYAMLOrJSONDecoder(f, 4096).Decode(into); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// The policies that people start from pass the rules, beside each other.
func TestTheLibraryIsAdmitted(t *testing.T) {
	files, err := filepath.Glob("../config/library/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(data), "\n---\n") {
			var object map[string]any
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			kind, _ := object["kind"].(string)
			if !isPolicy(kind) {
				continue
			}
			judged++
			t.Run(filepath.Base(file), func(t *testing.T) {
				meta := object["metadata"].(map[string]any)
				if kind == v1alpha1.KindRuntimePolicy {
					meta["namespace"] = "shop"
				}
				if _, err := translateObject(kind, raw(t, object)); err != nil {
					t.Fatal(err)
				}
				e := newEngine(t, rules.Modules(), &fakeCluster{system: testSystem()})
				verdict, err := e.Judge(t.Context(), Request{Kind: kind, Object: object})
				if err != nil {
					t.Fatal(err)
				}
				expectOne(t, "refusal", verdict.Refused, "")
				for _, w := range verdict.Warnings {
					if w.Rule.Number == 49 || w.Rule.Number == 55 {
						t.Errorf("warning: %v", w)
					}
				}
			})
		}
	}
	if judged < 11 {
		t.Errorf("%d policies in the library, want 11 at least", judged)
	}
}
