package controllers_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/controllers"
	"palisade.dev/palisade/controllers/internal/fakeagent"
	"palisade.dev/palisade/snapshot/wire"
	"palisade.dev/palisade/test/poll"
)

// TestOnlyAgentsEnrol: a certificate is given for the node on which the agent's
// pod runs, to nobody else and for no other node.
func TestOnlyAgentsEnrol(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	c := w.start()
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.system, Name: "other"}})
	good := c.agent(n1)
	unbound := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{wire.Audience}}}
	w.request("palisade-nodeagent", unbound)
	foreign := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"something-else"}}}
	w.request("palisade-nodeagent", foreign)
	for name, token := range map[string]string{
		"another account":  w.token(n1, "other"),
		"no pod":           unbound.Status.Token,
		"another audience": foreign.Status.Token,
		"no token":         "",
		"rubbish":          "rubbish",
	} {
		t.Run(name, func(t *testing.T) {
			a := &fakeagent.Agent{Node: n1, Address: good.Address, Roots: good.Roots}
			if err := a.Enroll(context.Background(), token); status.Code(err) != codes.Unauthenticated {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("another node", func(t *testing.T) {
		a := &fakeagent.Agent{Node: w.node("n2"), Address: good.Address, Roots: good.Roots, Certificate: good.Certificate}
		if err := a.Run(context.Background()); status.Code(err) != codes.PermissionDenied {
			t.Errorf("error %v", err)
		}
	})
}

func (w *world) request(account string, r *authenticationv1.TokenRequest) {
	w.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.system, Name: account}}
	if err := w.client.SubResource("token").Create(context.Background(), sa, r); err != nil {
		w.Fatal(err)
	}
}

// TestRoles asks the API server what holders of the shipped roles may do.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	w.roles("../config/rbac/roles.yaml")
	bind := func(user, role, namespace string) {
		subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}
		if namespace == "" {
			w.create(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: ref, Subjects: subjects})
			return
		}
		w.create(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: user}, RoleRef: ref, Subjects: subjects})
	}
	viewer, editor, admin := "viewer-"+w.suffix, "editor-"+w.suffix, "admin-"+w.suffix
	policyAdmin, controller := "policy-admin-"+w.suffix, "system:serviceaccount:"+w.system+":palisade-controller"
	// envtest runs no controller manager, which would aggregate the roles.
	bind(viewer, "palisade-view", w.namespace)
	bind(editor, "palisade-edit", w.namespace)
	bind(admin, "palisade-edit", w.namespace)
	bind(policyAdmin, "palisade-cluster-admin", "")
	tests := []struct {
		user, verb, resource, sub string
		want                      bool
	}{
		{viewer, "list", "networkpolicies", "", true},
		{viewer, "list", "externalworkloads", "", true},
		{viewer, "create", "networkpolicies", "", false},
		{editor, "create", "networkpolicies", "", true},
		{editor, "delete", "networkpolicies", "", true},
		{editor, "create", "externalworkloads", "", false},
		{editor, "patch", "networkpolicies", "status", false},
		{editor, "create", "clusterwidepolicies", "", false},
		{admin, "create", "externalworkloads", "", false},
		{policyAdmin, "create", "externalworkloads", "", true},
		{policyAdmin, "create", "addressgroups", "", true},
		{policyAdmin, "create", "clusterwidepolicies", "", true},
		{policyAdmin, "write-admin", "clusterwidepolicies", "", true},
		{policyAdmin, "patch", "clusterwidepolicies", "status", false},
		{controller, "patch", "networkpolicies", "status", true},
		{controller, "update", "networkpolicies", "", false},
		{controller, "create", "clusterwidepolicies", "", false},
		{"system:serviceaccount:" + w.system + ":palisade-nodeagent", "list", "networkpolicies", "", false},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.user, " ", test.verb, " ", test.resource, test.sub), func(t *testing.T) {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: test.user,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: w.namespace, Verb: test.verb, Group: "policy.palisade.dev", Resource: test.resource, Subresource: test.sub,
				},
			}}
			// A right takes a moment to arrive at the authorizer. What is not granted comes
			// after what is, so that it is not merely late.
			poll.Until(w, fmt.Sprintf("the answer %t", test.want), func() error {
				asked := review.DeepCopy()
				if err := w.client.Create(context.Background(), asked); err != nil {
					return err
				}
				if asked.Status.Allowed != test.want {
					return fmt.Errorf("allowed: %t (%s)", asked.Status.Allowed, asked.Status.Reason)
				}
				return nil
			})
		})
	}
	var view, edit rbacv1.ClusterRole
	w.get("palisade-view", &view)
	w.get("palisade-edit", &edit)
	if view.Labels["rbac.authorization.k8s.io/aggregate-to-view"] != "true" ||
		edit.Labels["rbac.authorization.k8s.io/aggregate-to-edit"] != "true" || edit.Labels["rbac.authorization.k8s.io/aggregate-to-admin"] != "true" {
		t.Error("the roles are not part of view, edit and admin")
	}
}

func (w *world) roles(path string) {
	w.Helper()
	text, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		w.Fatal(err)
	}
	for _, document := range splitYAML(string(text)) {
		role := &rbacv1.ClusterRole{}
		if err := yaml.UnmarshalStrict([]byte(document), role); err != nil {
			w.Fatal(err)
		}
		w.create(role)
	}
}

func (w *world) get(name string, o client.Object) {
	w.Helper()
	if err := w.client.Get(context.Background(), client.ObjectKey{Name: name}, o); err != nil {
		w.Fatal(err)
	}
}

// TestControllerReadsNoOtherSecret: the controller may read its own Secret and
// no other one, not even in its own namespace.
func TestControllerReadsNoOtherSecret(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.system, Name: "other"}})
	config := rest.CopyConfig(apiServer)
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + w.system + ":palisade-controller"}
	c, err := client.New(config, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	get := func(name string) error {
		return c.Get(context.Background(), client.ObjectKey{Namespace: w.system, Name: name}, &corev1.Secret{})
	}
	poll.Until(w, "its own Secret", func() error { return get("palisade-trust") })
	if err := get("other"); !apierrors.IsForbidden(err) {
		t.Errorf("another Secret: %v", err)
	}
	if err := c.List(context.Background(), &corev1.SecretList{}, client.InNamespace(w.system)); !apierrors.IsForbidden(err) {
		t.Errorf("all Secrets: %v", err)
	}
}
