package manifests

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// Objects are the objects that policy is computed from, from files or from a
// live cluster.
type Objects struct {
	Namespaces          []corev1.Namespace
	Pods                []corev1.Pod
	Nodes               []corev1.Node
	EndpointSlices      []discoveryv1.EndpointSlice
	NetworkPolicies     []v1alpha1.NetworkPolicy
	ClusterwidePolicies []v1alpha1.ClusterwidePolicy
	RuntimePolicies     []v1alpha1.RuntimePolicy
	ExternalWorkloads   []v1alpha1.ExternalWorkload
	AddressGroups       []v1alpha1.AddressGroup
	Upstream            []networkingv1.NetworkPolicy

	// StandIns are in force instead of policies that cannot be read.
	StandIns []StandIn
	// AcceptedAt is when the spec of each policy was accepted, on a live cluster
	// whose controller keeps record of that; nil otherwise.
	AcceptedAt map[model.PolicyRef]time.Time

	places map[objectKey]document // where each came from; empty for a live cluster
}

// StandIn is a policy that no object says as it is.
type StandIn struct {
	Policy    model.Policy
	ExpiresAt time.Time // zero: never
}

// objectKey names an object.
type objectKey struct {
	kind            schema.GroupKind
	namespace, name string
}

// World is a cluster as the policy core takes it, with what only people ask for.
type World struct {
	Cluster model.Cluster
	// AcceptedAt is that of the objects.
	AcceptedAt map[model.PolicyRef]time.Time
	// HostPods are the pods with host networking, whose endpoints have no
	// addresses: these are their nodes'.
	HostPods map[string][]netip.Addr // by NAMESPACE/NAME
	// Containers are the names of a pod's containers in the order of its spec, init
	// containers first and ephemeral ones last.
	Containers map[string][]string // by NAMESPACE/NAME
}
