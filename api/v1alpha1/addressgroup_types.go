package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AddressGroup gives a name to many CIDRs, so that policies of any namespace
// use them as one peer. It selects by address only, wherever the address is.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=addressgroups,singular=addressgroup,shortName=pag,categories=palisade,scope=Cluster
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type AddressGroup struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the group holds.
	Spec AddressGroupSpec `json:"spec"`

	// status is whether the group counts. Only the controller writes it.
	//
	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PeerStatus `json:"status,omitempty"`
}

// AddressGroupList is a list of AddressGroup objects.
//
// +kubebuilder:object:root=true
type AddressGroupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AddressGroup `json:"items"`
}

// AddressGroupSpec is the content of a group.
type AddressGroupSpec struct {
	// cidrs are the ranges of the group, of either family. They unite, and may
	// overlap. An empty group matches nothing.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	CIDRs []CIDR `json:"cidrs"`
}
