package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"

	"palisade.dev/palisade/api/v1alpha1"
)

// testRoles asks the API server what the roles of config/rbac let people do.
// Each role is bound as aggregation would have it; no controller aggregates here.
func (c *cluster) testRoles(t *testing.T) {
	for _, role := range []string{"palisade-view", "palisade-edit", "palisade-admin", "palisade-cluster-admin"} {
		create(t, c.client, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "test-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: role}},
		})
	}
	tests := []struct {
		role, resource, verb string
		want                 bool
	}{
		{"palisade-view", "networkpolicies", "get", true},
		{"palisade-view", "clusterwidepolicies", "list", true},
		{"palisade-view", "networkpolicies", "update", false},
		{"palisade-edit", "networkpolicies", "create", true},
		{"palisade-edit", "networkpolicies", "delete", true},
		{"palisade-view", "runtimepolicies", "watch", true},
		{"palisade-view", "runtimepolicies", "patch", false},
		{"palisade-admin", "runtimepolicies", "create", true},
		{"palisade-admin", "runtimepolicies", "deletecollection", true},
		{"palisade-edit", "runtimepolicies", "create", false}, // says what its holder may run
		{"palisade-edit", "runtimepolicies", "delete", false},
		{"palisade-admin", "clusterwidepolicies", "create", false},
		{"palisade-edit", "externalworkloads", "create", false}, // claims an address
		{"palisade-edit", "addressgroups", "update", false},
		{"palisade-edit", "clusterwidepolicies", "create", false},
		{"palisade-edit", "clusterwidepolicies", "write-admin", false},
		{"palisade-cluster-admin", "networkpolicies", "create", true},
		{"palisade-cluster-admin", "runtimepolicies", "update", true},
		{"palisade-cluster-admin", "externalworkloads", "create", true},
		{"palisade-cluster-admin", "addressgroups", "update", true},
		{"palisade-cluster-admin", "clusterwidepolicies", "create", true},
		{"palisade-cluster-admin", "clusterwidepolicies", "write-admin", true},
		// Status says what is in force; nobody but the controller writes it.
		{"palisade-view", "networkpolicies/status", "update", false},
		{"palisade-edit", "networkpolicies/status", "update", false},
		{"palisade-admin", "runtimepolicies/status", "update", false},
		{"palisade-cluster-admin", "networkpolicies/status", "update", false},
		{"palisade-cluster-admin", "clusterwidepolicies/status", "patch", false},
	}
	for _, tc := range tests {
		t.Run(fmt.Sprintf("%s %s %s", tc.role, tc.verb, tc.resource), func(t *testing.T) {
			resource, subresource, _ := strings.Cut(tc.resource, "/")
			review := authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: tc.role,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Group: v1alpha1.GroupName, Resource: resource, Subresource: subresource, Verb: tc.verb, Namespace: "shop", Name: "x",
				},
			}}
			// A right takes a moment to arrive at the authorizer. What is not granted
			// comes after rights that are, so that it is not merely late.
			ask := func(ctx context.Context) (bool, error) {
				answer := review.DeepCopy()
				if err := c.client.Create(ctx, answer); err != nil {
					return false, err
				}
				return answer.Status.Allowed == tc.want, nil
			}
			if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, patience, true, ask); err != nil {
				t.Errorf("allowed: want %v: %v", tc.want, err)
			}
		})
	}
}

// The aggregated roles pick Palisade's up by these labels.
func TestRolesAggregate(t *testing.T) {
	want := map[string][]string{
		"palisade-view":          {"view"},
		"palisade-edit":          {"edit", "admin"},
		"palisade-admin":         {"admin"},
		"palisade-cluster-admin": nil,
	}
	for name, role := range readRoles(t) {
		for _, to := range []string{"view", "edit", "admin"} {
			label := role.Labels["rbac.authorization.k8s.io/aggregate-to-"+to] == "true"
			if label != slices.Contains(want[name], to) {
				t.Errorf("%s aggregates to %s: %v", name, to, label)
			}
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("there is no role %s", name)
	}
}

func readRoles(t *testing.T) map[string]rbacv1.ClusterRole {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "config", "rbac", "roles.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]rbacv1.ClusterRole{}
	for d := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		var role rbacv1.ClusterRole
		if err := d.Decode(&role); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out[role.Name] = role
	}
}
