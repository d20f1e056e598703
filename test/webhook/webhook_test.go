package webhook

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
)

func networkPolicy(name string) *v1alpha1.NetworkPolicy {
	return &v1alpha1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: v1alpha1.NetworkPolicySpec{
			Subject: v1alpha1.NetworkPolicySubject{Pods: &v1alpha1.LabelSelector{}},
			Isolate: v1alpha1.IsolateIngress,
		},
	}
}

func clusterwide(name string, tier v1alpha1.Tier, subject v1alpha1.LabelSelector) *v1alpha1.ClusterwidePolicy {
	return &v1alpha1.ClusterwidePolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.ClusterwidePolicySpec{
			Tier: tier, Priority: 10,
			Subject: v1alpha1.ClusterwidePolicySubject{Namespaces: &subject},
			Ingress: []v1alpha1.ClusterwidePolicyIngressRule{{Name: "all", Action: v1alpha1.ActionDeny}},
		},
	}
}

func team(name string) v1alpha1.LabelSelector {
	return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": v1alpha1.LabelValue(name)}}
}

// TestAdmission is one scenario, because starting an API server takes a while.
func TestAdmission(t *testing.T) {
	c := newCluster(t)

	t.Run("closed before the webhook has ever run", func(t *testing.T) {
		err := c.client.Create(t.Context(), networkPolicy("early"))
		if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "policies.policy.palisade.dev") {
			t.Errorf("err = %v, want one that names the webhook", err)
		}
	})

	stop := c.serve(t)
	t.Run("good with a warning", func(t *testing.T) { c.testWarning(t) })
	t.Run("bad with the reason", func(t *testing.T) { c.testRefused(t) })
	t.Run("over budget", func(t *testing.T) { c.testBudget(t) })
	t.Run("the policy system", func(t *testing.T) { c.testLockout(t) })
	t.Run("runtime policies", func(t *testing.T) { c.testRuntime(t) })
	t.Run("overlap", func(t *testing.T) { c.testOverlap(t) })
	t.Run("the Admin tier needs write-admin", func(t *testing.T) { c.testAdminTier(t) })

	t.Run("roles", func(t *testing.T) { c.testRoles(t) })

	create(t, c.client, networkPolicy("stands"))
	stop()
	c.waitUntilAnswered(t, false)
	t.Run("webhook down", func(t *testing.T) { c.testDown(t) })
}

func (c *cluster) testWarning(t *testing.T) {
	var got recorder
	warned := c.clientFor(t, func(cfg *rest.Config) { cfg.WarningHandler = &got })
	create(t, warned, networkPolicy("everybody"))
	if want := "palisade: rule 17 (a subject that is the whole namespace): spec.subject.pods: "; !strings.Contains(got.all(), want) {
		t.Errorf("warnings %q, want one with %q", got.all(), want)
	}
	for _, w := range got.text {
		if len(w) >= 256 {
			t.Errorf("a warning of %d bytes: %q", len(w), w)
		}
	}
}

func (c *cluster) testRefused(t *testing.T) {
	bad := clusterwide("everybody", v1alpha1.TierBaseline, v1alpha1.LabelSelector{})
	err := c.client.Create(t.Context(), bad)
	if !apierrors.IsForbidden(err) {
		t.Fatalf("err = %v, want Forbidden", err)
	}
	for _, part := range []string{"rule 17", "spec.subject.namespaces", "policy.palisade.dev/allow-all-subjects"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	bad.Annotations = map[string]string{"policy.palisade.dev/allow-all-subjects": "true"}
	create(t, c.client, bad)

	// It may be labelled, and lose its opt-in, without being judged again; its
	// spec may change in what was not wrong.
	bad.Annotations = nil
	if err := c.client.Update(t.Context(), bad); err != nil {
		t.Errorf("an update that leaves the spec alone: %v", err)
	}
	bad.Spec.Priority = 900
	if err := c.client.Update(t.Context(), bad); err != nil {
		t.Errorf("an update that brings no new violation: %v", err)
	}
	if err := c.client.Delete(t.Context(), bad); err != nil {
		t.Error(err)
	}
}

func (c *cluster) testBudget(t *testing.T) {
	c.budget.entries.Store(101)
	defer c.budget.entries.Store(0)
	err := c.client.Create(t.Context(), networkPolicy("large"))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "it compiles to 101 entries, the budget is 100") {
		t.Errorf("err = %v", err)
	}
}

func (c *cluster) testRuntime(t *testing.T) {
	policy := &v1alpha1.RuntimePolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "no-shell"},
		Spec: v1alpha1.RuntimePolicySpec{RuntimeRules: v1alpha1.RuntimeRules{Executables: &v1alpha1.ExecutableSection{
			Rules: []v1alpha1.ExecutableRule{{
				RuntimeRule: v1alpha1.RuntimeRule{Name: "shell", Action: v1alpha1.ActionKill},
				PathMatch:   v1alpha1.PathMatch{Paths: []v1alpha1.Path{"/usr/bin/dash"}},
			}},
		}}},
	}
	var got recorder
	warned := c.clientFor(t, func(cfg *rest.Config) { cfg.WarningHandler = &got })
	create(t, warned, policy)
	if want := "palisade: rule 17 (a subject that is the whole namespace): spec.subject.pods: "; !strings.Contains(got.all(), want) {
		t.Errorf("warnings %q, want one with %q", got.all(), want)
	}
	// The API server labels every namespace with its name.
	kill := func(name, namespace string) error {
		return c.client.Create(t.Context(), &v1alpha1.ClusterwidePolicy{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.ClusterwidePolicySpec{
				Tier: v1alpha1.TierAdmin, Priority: 901,
				Subject: v1alpha1.ClusterwidePolicySubject{Namespaces: &v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{
					corev1.LabelMetadataName: v1alpha1.LabelValue(namespace),
				}}},
				Runtime: &v1alpha1.ClusterwideRuntime{RuntimeRules: policy.Spec.RuntimeRules},
			},
		})
	}
	if err := kill("kill-system", "kube-system"); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "a rule kills processes of namespace kube-system") {
		t.Errorf("err = %v, want a refusal by rule 53", err)
	}
	if err := kill("kill-shop", "shop"); err != nil {
		t.Errorf("err = %v, want none: shop is nothing of Kubernetes", err)
	}
	c.budget.entries.Store(101)
	defer c.budget.entries.Store(0)
	large := &v1alpha1.RuntimePolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "large"}, Spec: policy.Spec}
	if err := c.client.Create(t.Context(), large); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "rule 30") {
		t.Errorf("err = %v, want a refusal by rule 30", err)
	}
}

func (c *cluster) testLockout(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	create(t, c.client, node)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.90.0.11"}}
	if err := c.client.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	create(t, c.client, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "default"}})
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "controller", Labels: map[string]string{"app.kubernetes.io/part-of": "palisade"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: "controller", Ports: []corev1.ContainerPort{{Name: "stream", ContainerPort: 9443}},
		}}},
	}
	create(t, c.client, pod)
	pod.Status.PodIPs = []corev1.PodIP{{IP: "10.244.1.2"}}
	pod.Status.PodIP = "10.244.1.2"
	if err := c.client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	// Two connections: the API server's, and that of node n1.
	isolating := networkPolicy("isolating")
	isolating.Namespace = systemNamespace
	err := c.client.Create(t.Context(), isolating)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "rule 37") || !strings.Contains(err.Error(), "denies the API server to pod palisade-system/controller, port 9443 (and 1 more)") {
		t.Errorf("err = %v", err)
	}
	isolating.Spec.Mode = v1alpha1.ModeAudit
	create(t, c.client, isolating)
	isolating.Spec.Mode = v1alpha1.ModeEnforce
	if err := c.client.Update(t.Context(), isolating); !apierrors.IsForbidden(err) {
		t.Errorf("promoting it from Audit: err = %v, want Forbidden", err)
	}
}

func (c *cluster) testOverlap(t *testing.T) {
	create(t, c.client, clusterwide("first", v1alpha1.TierBaseline, team("a")))
	var got recorder
	warned := c.clientFor(t, func(cfg *rest.Config) { cfg.WarningHandler = &got })
	create(t, warned, clusterwide("apart", v1alpha1.TierBaseline, team("b")))
	if got.all() != "" {
		t.Errorf("warnings for policies that do not overlap: %q", got.all())
	}
	create(t, warned, clusterwide("second", v1alpha1.TierBaseline, team("a")))
	if !strings.Contains(got.all(), "rule 18") || !strings.Contains(got.all(), "cwp/first") {
		t.Errorf("warnings %q, want one of rule 18 that names cwp/first", got.all())
	}
}

func (c *cluster) testAdminTier(t *testing.T) {
	grant := func(user string, verbs ...string) client.Client {
		create(t, c.client, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: user},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"clusterwidepolicies"}, Verbs: verbs}},
		})
		create(t, c.client, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: user},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})
		return c.clientFor(t, func(cfg *rest.Config) { cfg.Impersonate.UserName = user })
	}
	writer := grant("baseline-writer", "create", "update", "delete")
	admin := grant("admin-writer", "create", "update", "delete", "write-admin")

	// The API server takes a moment to take a new policy of its own up.
	var err error
	polled := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err = writer.Create(ctx, clusterwide("top", v1alpha1.TierAdmin, team("c")), client.DryRunAll)
		return err != nil, nil
	})
	if polled != nil {
		t.Fatal("the Admin tier can be written without write-admin")
	}
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "write-admin") || !strings.Contains(err.Error(), "baseline-writer") {
		t.Errorf("err = %v, want one that names the verb and the user", err)
	}
	create(t, writer, clusterwide("bottom", v1alpha1.TierBaseline, team("c")))
	top := clusterwide("top", v1alpha1.TierAdmin, team("c"))
	create(t, admin, top)
	if err := writer.Delete(t.Context(), top); !apierrors.IsForbidden(err) {
		t.Errorf("delete without the verb: err = %v, want Forbidden", err)
	}
	if err := admin.Delete(t.Context(), top); err != nil {
		t.Error(err)
	}
}

func (c *cluster) testDown(t *testing.T) {
	if err := c.client.Create(t.Context(), networkPolicy("late")); !apierrors.IsInternalError(err) {
		t.Errorf("a policy: err = %v, want a failed call of the webhook", err)
	}
	var stands v1alpha1.NetworkPolicy
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "stands"}, &stands); err != nil {
		t.Fatal(err)
	}
	stands.Spec.Isolate = v1alpha1.IsolateBoth
	if err := c.client.Update(t.Context(), &stands); !apierrors.IsInternalError(err) {
		t.Errorf("a change: err = %v, want a failed call of the webhook", err)
	}
	// Neither workloads nor what the controller says of a policy depend on it.
	create(t, c.client, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default"}})
	create(t, c.client, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "web"}}},
	})
	if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(&stands), &stands); err != nil {
		t.Fatal(err)
	}
	stands.Status.Endpoints = 1
	if err := c.client.Status().Update(t.Context(), &stands); err != nil {
		t.Errorf("status: %v", err)
	}
	if err := c.client.Delete(t.Context(), &stands); err != nil {
		t.Errorf("a delete: %v", err)
	}
}
