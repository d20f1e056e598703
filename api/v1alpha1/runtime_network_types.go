package v1alpha1

// SocketSection says what processes may do with IP sockets. It adds who does it
// to what a NetworkPolicy can say; a connection needs the verdict Allow of both.
// Other families, such as Unix sockets, VSOCK, TIPC and RDS, are not judged, not
// even where they reach other machines by TCP; raw and packet sockets are of the
// section privileges. SMC, which falls back to TCP, counts as TCP.
//
// +kubebuilder:validation:XValidation:rule="self.default == 'Deny' || (has(self.rules) && size(self.rules) > 0) || (has(self.exceptions) && size(self.exceptions) > 0)",message="the section network does nothing: add a rule or an exception, set default to Deny, or remove the section (shape 11)"
// +kubebuilder:validation:XValidation:rule="!has(self.rules) || !has(self.exceptions) || self.exceptions.all(e, !self.rules.exists(r, r.name == e.name))",message="a rule and an exception of network have the same name: rename one, so that an event can name which decided (shape 12)"
type SocketSection struct {
	// default says what happens to what no rule of any policy of the tier
	// matches: Accept leaves it to the next tier, Deny isolates the section, so
	// that only what a rule accepts may be done. Deny is refused in the Admin
	// tier.
	//
	// +optional
	// +kubebuilder:default=Accept
	// +kubebuilder:validation:Enum=Accept;Deny
	Default Action `json:"default,omitempty"`

	// rules lists rules. Their order does not change a verdict. All network
	// rules that apply to one container may be 58 at most, over all policies
	// together and with exceptions and defaults of Deny; a policy beyond that is
	// refused with the reason OverCapacity.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=50
	Rules []SocketRule `json:"rules,omitempty"`

	// exceptions lists what is allowed for a time.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Exceptions []SocketException `json:"exceptions,omitempty"`
}

// SocketRule matches what is done with sockets, by operation, protocol and
// address.
//
// +kubebuilder:validation:XValidation:rule="!has(self.peers) || self.peers.all(p, has(p.ipBlock) || has(p.networks)) || (has(self.operations) && self.operations.all(o, o == 'Connect' || o == 'Send'))",message="a socket that binds or listens has a local address and no peer: set operations to Connect, Send or both, or use ipBlock and networks, which match the local address (shape 69)"
type SocketRule struct {
	RuntimeRule `json:",inline"`
	SocketMatch `json:",inline"`

	// operations lists the operations that the rule matches. Absent, it matches
	// all of them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Operations []SocketOperation `json:"operations,omitempty"`
}

// SocketException allows operations on sockets for a time.
//
// +kubebuilder:validation:XValidation:rule="has(self.operations) || has(self.protocols) || has(self.peers) || has(self.from)",message="the exception matches every socket: narrow it with operations, protocols, peers or from, or remove the rules instead (shape 65)"
// +kubebuilder:validation:XValidation:rule="!has(self.peers) || self.peers.all(p, has(p.ipBlock) || has(p.networks)) || (has(self.operations) && self.operations.all(o, o == 'Connect' || o == 'Send'))",message="a socket that binds or listens has a local address and no peer: set operations to Connect, Send or both, or use ipBlock and networks, which match the local address (shape 69)"
type SocketException struct {
	RuntimeException `json:",inline"`
	SocketMatch      `json:",inline"`

	// operations lists the operations that the exception allows. Absent, it
	// allows all of them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Operations []SocketOperation `json:"operations,omitempty"`
}

// SocketMatch matches sockets by protocol and address; both must match.
type SocketMatch struct {
	// protocols lists the protocols and ports that are matched; they unite. The
	// port is the destination's for Connect and Send, and the local one for Bind
	// and Listen. Absent, every protocol matches.
	//
	// A connection of MPTCP is one of TCP. ICMP here means the sockets of the
	// kernel's own ping; its types cannot be told apart.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(p, !has(p.destinationNamedPort) && !(has(p.icmp) && has(p.icmp.type)) && !(has(p.icmpv6) && has(p.icmpv6.type)))",message="a socket knows no named ports and no ICMP types: use port numbers, and leave type out (shape 70)"
	Protocols []Protocol `json:"protocols,omitempty"`

	// peers lists the addresses that are matched; they unite. For Connect and
	// Send that is the destination, as the process gives it: the address of a
	// Service is matched by ipBlock and networks, not by a selector of the pods
	// behind it. For Bind and Listen it is the local address, which only ipBlock
	// and networks can name. Absent, every address matches.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5
	Peers []Peer `json:"peers,omitempty"`
}

// SocketOperation is something that a process does with a socket.
//
// +kubebuilder:validation:Enum=Connect;Bind;Listen;Send
type SocketOperation string

const (
	// SocketConnect is connecting, or setting the destination of a datagram
	// socket, also by a first message that carries data (TCP fast open).
	SocketConnect SocketOperation = "Connect"
	// SocketBind is taking a local address and port by name. A port that the
	// kernel chooses for an outgoing connection is not.
	SocketBind SocketOperation = "Bind"
	// SocketListen is waiting for connections. With SMC the port is not known
	// then: waiting is denied if anything of the section is.
	SocketListen SocketOperation = "Listen"
	// SocketSend is sending to an address that the message itself carries. Writing
	// to a socket that is connected, or that was accepted, is not judged.
	SocketSend SocketOperation = "Send"
)
