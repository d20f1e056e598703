package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of every kind of Palisade.
const GroupName = "policy.palisade.dev"

// Kind names, as they stand in manifests.
const (
	KindNetworkPolicy     = "NetworkPolicy"
	KindClusterwidePolicy = "ClusterwidePolicy"
	KindRuntimePolicy     = "RuntimePolicy"
	KindExternalWorkload  = "ExternalWorkload"
	KindAddressGroup      = "AddressGroup"
)

// Short names. Messages and documents print them before an object's name,
// because "networkpolicy" alone means upstream's kind to kubectl.
const (
	ShortNetworkPolicy     = "pnp"
	ShortClusterwidePolicy = "cwp"
	ShortRuntimePolicy     = "rtp"
	ShortExternalWorkload  = "pew"
	ShortAddressGroup      = "pag"
)

var (
	// GroupVersion is this package's group and version.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

	// SchemeBuilder collects the functions that register this package.
	SchemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme registers every kind of this package in a scheme.
	AddToScheme = SchemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&NetworkPolicy{}, &NetworkPolicyList{},
		&ClusterwidePolicy{}, &ClusterwidePolicyList{},
		&RuntimePolicy{}, &RuntimePolicyList{},
		&ExternalWorkload{}, &ExternalWorkloadList{},
		&AddressGroup{}, &AddressGroupList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
