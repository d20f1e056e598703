package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ExternalWorkload is an endpoint outside the cluster, such as a virtual
// machine or a legacy host. Selectors match its metadata.labels as they match a
// pod's, in the namespace that it stands in.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=externalworkloads,singular=externalworkload,shortName=pew,categories=palisade,scope=Namespaced
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ExternalWorkload struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the endpoint is.
	Spec ExternalWorkloadSpec `json:"spec"`

	// status is whether the endpoint counts. Only the controller writes it.
	//
	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PeerStatus `json:"status,omitempty"`
}

// ExternalWorkloadList is a list of ExternalWorkload objects.
//
// +kubebuilder:object:root=true
type ExternalWorkloadList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ExternalWorkload `json:"items"`
}

// ExternalWorkloadSpec describes one endpoint outside the cluster.
type ExternalWorkloadSpec struct {
	// addresses are the endpoint's own addresses. They lie outside every range
	// of pods, Services and nodes; an address that a pod or a node has is
	// theirs, whatever is written here. If two ExternalWorkload objects claim
	// one address, the one that was created first has it (then the one whose
	// namespace and name sort first). An object with an address that is not its
	// own, for either reason, is not accepted as a whole, so that none of its
	// addresses counts: Accepted is False with reason AddressConflict.
	//
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Addresses []HostAddress `json:"addresses"`

	// ports names ports, for rules with a destinationNamedPort. A port that is
	// not named here can still be matched by its number.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=50
	Ports []ExternalWorkloadPort `json:"ports,omitempty"`
}

// HostAddress is one unicast address, always written with its full prefix
// length: 203.0.113.7/32 or 2001:db8::7/128. There is no other form, so that an
// address is never mistaken for a range.
//
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="no address: write an IPv4 address with /32 or an IPv6 address with /128, without leading zeros, for example 203.0.113.7/32, and IPv4-mapped IPv6 as plain IPv4 (shape 1)"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self).prefixLength() == (cidr(self).ip().family() == 4 ? 32 : 128)",message="an external workload has single addresses: write IPv4 with /32 and IPv6 with /128, and use an AddressGroup for a range (shape 2)"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self).ip().isGlobalUnicast()",message="unspecified, loopback, link-local, multicast and broadcast addresses identify no workload: write an address that routers forward"
type HostAddress string

// ExternalWorkloadPort gives a port a name.
type ExternalWorkloadPort struct {
	// name is the name that a destinationNamedPort refers to.
	Name PortName `json:"name"`

	// protocol is the protocol of the port.
	//
	// +optional
	// +kubebuilder:default=TCP
	Protocol TransportProtocol `json:"protocol,omitempty"`

	// port is the number of the port.
	Port PortNumber `json:"port"`
}

// TransportProtocol is a protocol that has ports, spelled as Kubernetes spells
// it in a container's ports.
//
// +kubebuilder:validation:Enum=TCP;UDP;SCTP
type TransportProtocol string

// Transport protocols.
const (
	ProtocolTCP  TransportProtocol = "TCP"
	ProtocolUDP  TransportProtocol = "UDP"
	ProtocolSCTP TransportProtocol = "SCTP"
)
