package v1alpha1

// Protocol matches connections by protocol and port. Exactly one member is
// set, so a port cannot be given to a protocol that has none (shape 8 holds by
// construction).
//
// +kubebuilder:validation:XValidation:rule="[has(self.tcp), has(self.udp), has(self.sctp), has(self.icmp), has(self.icmpv6), has(self.destinationNamedPort)].exists_one(set, set)",message="a protocol has exactly one of tcp, udp, sctp, icmp, icmpv6, destinationNamedPort: split two into two entries of protocols, and leave protocols out to match every protocol (shape 9)"
type Protocol struct {
	// tcp matches TCP.
	//
	// +optional
	TCP *PortMatch `json:"tcp,omitempty"`

	// udp matches UDP.
	//
	// +optional
	UDP *PortMatch `json:"udp,omitempty"`

	// sctp matches SCTP.
	//
	// +optional
	SCTP *PortMatch `json:"sctp,omitempty"`

	// icmp matches ICMP for IPv4, and never IPv6. An ICMP error is not matched
	// by this: it takes the verdict of the connection that it quotes.
	//
	// +optional
	ICMP *ICMPMatch `json:"icmp,omitempty"`

	// icmpv6 matches ICMP for IPv6, and never IPv4; the two number their types
	// differently. Neighbour discovery and MLD always pass and cannot be denied.
	//
	// +optional
	ICMPv6 *ICMPMatch `json:"icmpv6,omitempty"`

	// destinationNamedPort matches the ports to which the destination endpoint
	// gives this name, with the protocol that it declares there. The
	// destination is the peer in an egress rule and the subject in an ingress
	// rule. Endpoints that give one name to different numbers are each matched
	// by their own; an endpoint that does not know the name is not matched.
	// What has no named ports (ipBlock, networks, addressGroups, nodes, and the
	// entities World, Host and APIServer) cannot be the peer of an egress rule
	// that uses one; an egress rule without peers matches only endpoints that
	// know the name.
	//
	// +optional
	DestinationNamedPort PortName `json:"destinationNamedPort,omitempty"`
}

// PortMatch matches one transport protocol. Without a destinationPort it
// matches every port.
type PortMatch struct {
	// destinationPort is the server's port as the server itself sees it: for a
	// Service, the target port and not the port of the Service.
	//
	// +optional
	DestinationPort *Port `json:"destinationPort,omitempty"`
}

// Port is one port number or one range of them.
//
// +kubebuilder:validation:XValidation:rule="has(self.number) != has(self.range)",message="destinationPort has exactly one of number and range: remove one, or leave destinationPort out to match every port (shape 9)"
type Port struct {
	// number is one port.
	//
	// +optional
	Number PortNumber `json:"number,omitempty"`

	// range is a contiguous range of ports.
	//
	// +optional
	Range *PortRange `json:"range,omitempty"`
}

// PortRange is a range of ports, both ends included.
//
// +kubebuilder:validation:XValidation:rule="self.start <= self.end",message="the range's end is below its start: swap start and end (shape 6)"
type PortRange struct {
	// start is the first port of the range.
	Start PortNumber `json:"start"`

	// end is the last port of the range, and not below start.
	End PortNumber `json:"end"`
}

// PortNumber is a port of TCP, UDP or SCTP.
//
// +kubebuilder:validation:Minimum=1
// +kubebuilder:validation:Maximum=65535
type PortNumber int32

// PortName is the name of a container's or an external workload's port.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=15
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]+(-[a-z0-9]+)*$') && self.matches('[a-z]')",message="a port's name has at most 15 lower-case letters, digits and single '-' between them, and at least one letter, for example http; a number belongs under tcp, udp or sctp"
type PortName string

// ICMPMatch matches ICMP messages that open an exchange, such as an echo
// request. Without a type it matches every type.
//
// +kubebuilder:validation:XValidation:rule="has(self.type) || !has(self.code)",message="an ICMP code means nothing without its type: add type, or remove code (shape 6)"
type ICMPMatch struct {
	// type is the ICMP type, for example 8 (echo request) of ICMP for IPv4 or
	// 128 of ICMP for IPv6. A reply is part of the exchange that the request
	// opened and needs no rule.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	Type *int32 `json:"type,omitempty"`

	// code is the ICMP code. Absent, every code of the type matches.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=255
	Code *int32 `json:"code,omitempty"`
}
