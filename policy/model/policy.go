package model

import (
	"cmp"
	"net/netip"
)

// PolicyKind is the kind of object that a policy was written as.
type PolicyKind uint8

// The kinds of policy, in the order in which attribution prefers them.
const (
	KindBuiltin       PolicyKind = iota // not an object: the rules that Palisade always applies
	KindClusterwide                     // ClusterwidePolicy, cwp
	KindNetworkPolicy                   // our NetworkPolicy, pnp
	KindUpstream                        // networking.k8s.io/v1 NetworkPolicy, netpol
	KindRuntime                         // RuntimePolicy, rtp
)

// String is the short name that messages, logs and flow records print.
func (k PolicyKind) String() string {
	switch k {
	case KindClusterwide:
		return "cwp"
	case KindNetworkPolicy:
		return "pnp"
	case KindUpstream:
		return "netpol"
	case KindRuntime:
		return "rtp"
	default:
		return "builtin"
	}
}

// PolicyRef names one policy.
type PolicyRef struct {
	Kind      PolicyKind
	Namespace string // empty for cluster-scoped kinds
	Name      string
}

// String is KIND/NAMESPACE/NAME, or KIND/NAME for a cluster-scoped kind.
func (r PolicyRef) String() string {
	if r.Namespace == "" {
		return r.Kind.String() + "/" + r.Name
	}
	return r.Kind.String() + "/" + r.Namespace + "/" + r.Name
}

// ComparePolicyRefs orders by kind, namespace, name; it breaks every tie that
// the order of judgement leaves.
func ComparePolicyRefs(a, b PolicyRef) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// Tier says where in the order of judgement a policy stands.
type Tier uint8

// The tiers, in the order in which they judge. TierBuiltin comes first and
// TierDefault last; no object can stand in either.
const (
	TierBuiltin   Tier = iota // what no policy can change: a pod and itself, a pod and its node, forged senders
	TierAdmin                 // ClusterwidePolicy, tier Admin
	TierNamespace             // NetworkPolicy, ours and upstream's, and RuntimePolicy
	TierBaseline              // ClusterwidePolicy, tier Baseline
	TierDefault               // nothing matched
)

// String is the name that API, logs and command line use.
func (t Tier) String() string {
	switch t {
	case TierAdmin:
		return "Admin"
	case TierNamespace:
		return "Namespace"
	case TierBaseline:
		return "Baseline"
	case TierDefault:
		return "Default"
	default:
		return "Builtin"
	}
}

// Action is what a rule asks for.
type Action uint8

// The actions, strongest first: among equals Deny goes before Accept before Pass.
const (
	ActionDeny Action = iota
	ActionAccept
	ActionPass
)

func (a Action) String() string {
	switch a {
	case ActionAccept:
		return "Accept"
	case ActionPass:
		return "Pass"
	default:
		return "Deny"
	}
}

// Direction is seen from the subject.
type Direction uint8

// The two directions.
const (
	Ingress Direction = iota
	Egress
)

func (d Direction) String() string {
	if d == Egress {
		return "Egress"
	}
	return "Ingress"
}

// Mode says whether a policy decides (Enforce) or is only observed (Audit).
type Mode uint8

// The modes.
const (
	Enforce Mode = iota
	Audit
)

// Policy is one policy of any kind, ready to be judged: references to its own
// namespace resolved, defaults filled in, rules in their order.
type Policy struct {
	Ref      PolicyRef
	Tier     Tier
	Priority int32 // 0-1000, lower first; 0 in TierNamespace
	Mode     Mode
	Expired  bool // an expired policy is treated as absent; the controller owns the clock

	Subject        Subject
	IsolateIngress bool // TierNamespace only
	IsolateEgress  bool

	Ingress []Rule
	Egress  []Rule
	Runtime *Runtime // nil: none

	// Copied to events, never judged.
	Severity string
	Message  string
	Tags     []string
}

// Rules returns the rules of one direction.
func (p *Policy) Rules(d Direction) []Rule {
	if d == Egress {
		return p.Egress
	}
	return p.Ingress
}

// Isolates reports whether the policy isolates its subject in a direction.
func (p *Policy) Isolates(d Direction) bool {
	if d == Egress {
		return p.IsolateEgress
	}
	return p.IsolateIngress
}

// Rule matches a connection if any of its peers and any of its ports match.
type Rule struct {
	Name   string
	Action Action
	// Peers are alternatives; none at all matches nobody. A rule about everyone
	// holds one peer of kind PeerAny.
	Peers []Peer
	// Ports are alternatives; none at all matches nothing. A rule about all
	// traffic holds one PortMatch of protocol ProtoAny.
	Ports []PortMatch
	Log   bool
}

// Subject says whom a policy protects: endpoints of one kind, in namespaces, by
// labels. Nodes have no namespace. The runtime part of a policy about pods is
// about those with host networking too, the network part is not.
type Subject struct {
	Kind       EndpointKind
	Namespaces NamespaceMatch
	Labels     Selector
}

// PeerKind says which fields of a Peer are read.
type PeerKind uint8

// The kinds of peers.
const (
	PeerAny          PeerKind = iota // every address
	PeerEndpoints                    // Endpoint, Namespaces, Labels
	PeerBlock                        // Block
	PeerAddressGroup                 // Name; a group that does not exist matches nobody
	PeerEntity                       // Entity
)

// Peer is one alternative of who the other end may be.
type Peer struct {
	Kind       PeerKind
	Endpoint   EndpointKind
	Namespaces NamespaceMatch
	Labels     Selector
	Block      Block
	Name       string
	Entity     Entity
}

// Entity is a peer that every cluster has.
type Entity uint8

// The entities.
const (
	EntityCluster   Entity = iota // every endpoint: pods, nodes, external workloads
	EntityWorld                   // every address that is no endpoint
	EntityHost                    // the node that hosts the subject
	EntityAPIServer               // the addresses behind the default/kubernetes Service
)

func (e Entity) String() string {
	return [...]string{"Cluster", "World", "Host", "APIServer"}[e]
}

// Block is a CIDR less some of its parts. It matches addresses, whoever has them.
type Block struct {
	CIDR   netip.Prefix // masked
	Except []netip.Prefix
}

// NamespaceMatch selects namespaces: the one called Name if that is set, else
// those whose labels match (the empty selector matches all).
type NamespaceMatch struct {
	Name   string
	Labels Selector
}

// Selector is a conjunction of requirements on labels. The empty selector
// matches everything. Requirements are sorted by key, operator, values.
type Selector struct {
	Requirements []Requirement
}

// Requirement is one condition on one label key.
type Requirement struct {
	Key    string
	Op     Operator
	Values []string // sorted, no duplicates; empty for Exists and DoesNotExist
}

// Operator relates a key to values as metav1.LabelSelector defines: NotIn and
// DoesNotExist also match an object without the key.
type Operator uint8

// The operators.
const (
	In Operator = iota
	NotIn
	Exists
	DoesNotExist
)

// Protocol is an IP protocol number, or ProtoAny.
type Protocol uint16

// The protocols that have ports of some kind. For ICMP the "port" is
// type<<8|code, so that a type is the range type<<8 … type<<8|255.
const (
	ProtoICMP   Protocol = 1
	ProtoTCP    Protocol = 6
	ProtoUDP    Protocol = 17
	ProtoICMPv6 Protocol = 58
	ProtoSCTP   Protocol = 132
	ProtoAny    Protocol = 256 // every protocol, those without ports included
)

// Port is a destination port, or type<<8|code for ICMP.
type Port uint16

// PortMatch is one alternative of what a rule is about.
//
// Name empty: protocol Proto and ports Lo to Hi inclusive; ProtoAny reads no
// ports. Name set: the server's port of that name, with Proto (ProtoAny: with
// whatever protocol the server declares it); a server without it is not matched.
type PortMatch struct {
	Proto Protocol
	Lo    Port
	Hi    Port
	Name  string
}
