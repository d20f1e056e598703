package model

import (
	"cmp"
	"net/netip"
)

// EndpointKind is what an endpoint is.
type EndpointKind uint8

// The kinds of endpoints. EndpointHostPod is the Class of a pod with host
// networking: on the network it is its node, so it is a subject of runtime rules
// and nothing else. No EndpointID, selector of peers or subject has it.
const (
	EndpointPod EndpointKind = iota
	EndpointNode
	EndpointExternal
	EndpointHostPod
	EndpointKinds = 4 // how many there are
)

func (k EndpointKind) String() string {
	return [...]string{"pod", "node", "external", "host pod"}[k]
}

// EndpointID names an endpoint.
type EndpointID struct {
	Kind      EndpointKind
	Namespace string // empty for nodes
	Name      string
}

// String is NAMESPACE/NAME, or NAME for a node.
func (id EndpointID) String() string {
	if id.Namespace == "" {
		return id.Name
	}
	return id.Namespace + "/" + id.Name
}

// CompareEndpointIDs orders by kind, namespace, name. Where two endpoints claim
// one address, the smaller one has it: a pod before a node before an external
// workload (the controller refuses the later claim; this only keeps the core total).
func CompareEndpointIDs(a, b EndpointID) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// UID is a pod's metadata.uid.
type UID string

// NodeName names a node.
type NodeName string

// HostOf names the host that an external workload is. No node is called so.
func HostOf(workload EndpointID) NodeName { return NodeName(workload.String()) }

// Endpoint is what has an address and can be selected.
type Endpoint struct {
	ID             EndpointID
	UID            UID // pods only
	Labels         map[string]string
	ServiceAccount string
	Node           NodeName     // the hosting node; a node's own name; of an external workload, HostOf its ID if its host enforces rules about its processes, else empty
	Addresses      []netip.Addr // may be empty: a pod that has none yet; never v4-mapped
	Ports          []NamedPort
	PodRanges      []netip.Prefix // nodes only: where its pods get their addresses; may be empty
	HostNetwork    bool           // pods only: it has its node's addresses, and none here
	// ConfigHash is what the kubelet calls a static pod by instead of its UID, which
	// is that of its mirror. Pods only; empty for all others.
	ConfigHash string
}

// Class is what kind of endpoint policies see: EndpointHostPod for a pod with
// host networking, else that of the ID.
func (e *Endpoint) Class() EndpointKind {
	if e.HostNetwork {
		return EndpointHostPod
	}
	return e.ID.Kind
}

// NamedPort is a port that an endpoint declares by name.
type NamedPort struct {
	Name  string
	Proto Protocol
	Port  Port
}

// Namespace is a namespace with its labels. A namespace that an endpoint is in
// and that a Cluster does not list has no labels.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// AddressGroup is a named list of CIDRs.
type AddressGroup struct {
	Name  string
	CIDRs []netip.Prefix // masked
}

// Cluster is all that policy computation reads: the input of one full compile
// and of the reference evaluator. The order of the slices means nothing.
type Cluster struct {
	Namespaces    []Namespace
	Endpoints     []Endpoint
	Policies      []Policy
	AddressGroups []AddressGroup
	APIServer     []netip.Addr // the entity APIServer
}
