package v1alpha1

// Peer is a set of other ends of a connection: sources in an ingress rule,
// destinations in an egress rule. Exactly one member is set. Peers of a rule
// unite: the rule matches if any of its peers does.
//
// A host-network pod is its node, here and everywhere: it is matched by nodes,
// by addresses and by entities, never by a pod selector. The subject itself is
// never a peer that a rule can cut off: an endpoint always reaches itself, and
// a node always reaches the pods that it hosts.
//
// +kubebuilder:validation:XValidation:rule="[has(self.namespaces), has(self.pods), has(self.nodes), has(self.externalWorkloads), has(self.ipBlock), has(self.networks), has(self.addressGroups), has(self.entities)].exists_one(set, set)",message="a peer has exactly one of namespaces, pods, nodes, externalWorkloads, ipBlock, networks, addressGroups, entities: split two into two peers, remove an empty peer, and leave the list out to match every peer (shape 9)"
type Peer struct {
	// namespaces matches every pod in the namespaces whose labels the selector
	// matches; {} matches every pod of the cluster.
	//
	// +optional
	Namespaces *LabelSelector `json:"namespaces,omitempty"`

	// pods matches pods by their labels and their namespace's.
	//
	// +optional
	Pods *PodPeer `json:"pods,omitempty"`

	// nodes matches nodes by their labels: every address in the Node's
	// status.addresses that is an IP address, and so every host-network pod on
	// it. {} matches every node.
	//
	// +optional
	Nodes *LabelSelector `json:"nodes,omitempty"`

	// externalWorkloads matches ExternalWorkload objects by their labels and
	// their namespace's.
	//
	// +optional
	ExternalWorkloads *ExternalWorkloadPeer `json:"externalWorkloads,omitempty"`

	// ipBlock matches the addresses of one CIDR without some parts of it.
	//
	// +optional
	IPBlock *IPBlock `json:"ipBlock,omitempty"`

	// networks matches every address that lies in any of the CIDRs, also where
	// it is a pod's or a node's.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=25
	Networks []CIDR `json:"networks,omitempty"`

	// addressGroups matches every address in any of the named AddressGroup
	// objects. A group that does not exist matches nothing and is named in the
	// policy's Accepted message; when it is created, the policy is compiled
	// again.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=25
	AddressGroups []AddressGroupName `json:"addressGroups,omitempty"`

	// entities matches well-known sets of addresses; several unite.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Entities []Entity `json:"entities,omitempty"`
}

// PodPeer selects pods by their namespace and their labels; both must match.
type PodPeer struct {
	// namespaceSelector selects the namespaces of the pods; {} selects every
	// namespace. In a NetworkPolicy it may be absent, which means the policy's
	// own namespace. In a ClusterwidePolicy, which has no namespace of its own,
	// it is required.
	//
	// +optional
	NamespaceSelector *LabelSelector `json:"namespaceSelector,omitempty"`

	// podSelector selects pods in those namespaces; {} selects all of them.
	PodSelector LabelSelector `json:"podSelector"`
}

// ExternalWorkloadPeer selects external workloads by their namespace and their
// labels; both must match.
type ExternalWorkloadPeer struct {
	// namespaceSelector selects the namespaces of the external workloads; {}
	// selects every namespace. In a NetworkPolicy it may be absent, which means
	// the policy's own namespace. In a ClusterwidePolicy it is required.
	//
	// +optional
	NamespaceSelector *LabelSelector `json:"namespaceSelector,omitempty"`

	// selector selects external workloads in those namespaces by their
	// metadata.labels; {} selects all of them.
	Selector LabelSelector `json:"selector"`
}

// IPBlock is one CIDR without some parts of it. It matches addresses wherever
// they are, pods and nodes included.
//
// +kubebuilder:validation:XValidation:rule="!has(self.except) || !isCIDR(self.cidr) || self.except.all(e, !isCIDR(e) || cidr(e).ip().family() == cidr(self.cidr).ip().family())",message="cidr and except mix IPv4 and IPv6: give each family its own ipBlock (shape 4)"
// +kubebuilder:validation:XValidation:rule="!has(self.except) || !isCIDR(self.cidr) || self.except.all(e, !isCIDR(e) || cidr(e).ip().family() != cidr(self.cidr).ip().family() || (cidr(e).prefixLength() > cidr(self.cidr).prefixLength() && cidr(self.cidr).containsCIDR(cidr(e))))",message="every entry of except must lie inside cidr and be smaller than it: remove the entry, or widen cidr (shape 3)"
// +kubebuilder:validation:XValidation:rule="!has(self.except) || !isCIDR(self.cidr) || !self.except.all(e, isCIDR(e) && cidr(e).prefixLength() > cidr(self.cidr).prefixLength()) || self.except.map(e, cidr(e).prefixLength() - cidr(self.cidr).prefixLength() > 15 ? 0 : [32768, 16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1][cidr(e).prefixLength() - cidr(self.cidr).prefixLength()]).sum() < 32768",message="the entries of except leave nothing of cidr, or repeat each other: remove the ipBlock, or list each excepted range once (shape 5)"
type IPBlock struct {
	// cidr is the block.
	CIDR CIDR `json:"cidr"`

	// except lists parts of cidr that do not match. An address in an except is
	// not denied by this; it is only not matched by this peer. Every entry is a
	// strict subset of cidr, and together they leave some of it.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Except []CIDR `json:"except,omitempty"`
}

// CIDR is a range of IPv4 or IPv6 addresses in CIDR notation, for example
// 10.20.0.0/16 or fd00:20::/64. Bits after the prefix are zero; octets have no
// leading zeros; an IPv4 range is not written as an IPv4-mapped IPv6 one.
//
// +kubebuilder:validation:MaxLength=43
// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="no CIDR: write an IPv4 or IPv6 address without leading zeros and a prefix length, for example 10.20.0.0/16 or fd00:20::/64, and IPv4-mapped IPv6 as plain IPv4 (shape 1)"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self) == cidr(self).masked()",message="bits are set after the prefix length: clear them (10.20.0.0/16, not 10.20.0.1/16), or lengthen the prefix (shape 2)"
type CIDR string

// AddressGroupName is the name of an AddressGroup object.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
type AddressGroupName string

// Entity is a well-known set of addresses.
//
// +kubebuilder:validation:Enum=Cluster;World;Host;APIServer
type Entity string

const (
	// EntityCluster is every endpoint that Palisade knows: pods, nodes and
	// external workloads.
	EntityCluster Entity = "Cluster"
	// EntityWorld is every address that is no endpoint's: exactly the
	// complement of Cluster.
	EntityWorld Entity = "World"
	// EntityHost is the node that the subject runs on. A node always reaches
	// the pods that it hosts whatever a rule says, so Host matters in egress.
	EntityHost Entity = "Host"
	// EntityAPIServer is every address behind the Service kubernetes in the
	// namespace default, as its EndpointSlices list them. They may be nodes'
	// addresses at the same time.
	EntityAPIServer Entity = "APIServer"
)
