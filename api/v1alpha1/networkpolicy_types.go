package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NetworkPolicy accepts and denies connections of endpoints in its own
// namespace, and isolates them if it says so. It stands in the Namespace tier,
// together with upstream's networking.k8s.io/v1 NetworkPolicy.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=networkpolicies,singular=networkpolicy,shortName=pnp,categories=palisade,scope=Namespaced
// +kubebuilder:printcolumn:name="Isolate",type=string,JSONPath=`.spec.isolate`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Realized",type=integer,JSONPath=`.status.nodes.realized`
// +kubebuilder:printcolumn:name="Nodes",type=integer,JSONPath=`.status.nodes.desired`
// +kubebuilder:printcolumn:name="Endpoints",type=integer,JSONPath=`.status.endpoints`,priority=1
// +kubebuilder:printcolumn:name="Severity",type=string,JSONPath=`.spec.severity`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type NetworkPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the policy asks for. What nodes enforce is the last spec
	// that was accepted: a later one that is refused leaves it in force, and
	// Accepted says so.
	Spec NetworkPolicySpec `json:"spec"`

	// status is where the policy is in force. Only the controller writes it.
	//
	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Programmed", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PolicyStatus `json:"status,omitempty"`
}

// NetworkPolicyList is a list of NetworkPolicy objects.
//
// +kubebuilder:object:root=true
type NetworkPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NetworkPolicy `json:"items"`
}

// NetworkPolicySpec is judged, for each direction of a connection, after every
// ClusterwidePolicy of the Admin tier has left the connection undecided or
// passed it on. In this tier the verdict depends on no order of policies or of
// rules:
//
//  1. If a Deny rule of any NetworkPolicy that selects the subject matches, the
//     verdict is Deny.
//  2. Else, if an Accept rule of any of them matches, the verdict is Allow.
//  3. Else, if any of them isolates the subject in this direction, the verdict
//     is Deny.
//  4. Else the Baseline tier decides, and if it says nothing, Allow.
//
// Upstream's NetworkPolicy objects count in 2 and 3 like ours. Where several
// policies or rules could be named as the one that decided, the verdict names
// the first policy by kind (ours before upstream's), then name, and in it the
// rule that stands first; for isolation likewise. The order of rules matters for
// that name alone and never for the verdict.
//
// A connection is allowed if both the client's egress and the server's ingress
// are. Replies belong to their connection and need no rule.
//
// +kubebuilder:validation:XValidation:rule="self.isolate != 'None' || (has(self.ingress) && size(self.ingress) > 0) || (has(self.egress) && size(self.egress) > 0)",message="the policy does nothing: set isolate to Ingress, Egress or Both, or add a rule to ingress or egress (shape 11)"
type NetworkPolicySpec struct {
	// mode says whether the policy is in force (Enforce) or only observed
	// (Audit).
	//
	// +optional
	// +kubebuilder:default=Enforce
	Mode Mode `json:"mode,omitempty"`

	// subject selects the endpoints that the policy protects.
	Subject NetworkPolicySubject `json:"subject"`

	// isolate names the directions in which the subject is denied everything
	// that no rule accepts. It is required and never implied by the presence of
	// rules: a policy that only denies something does not isolate.
	Isolate Isolation `json:"isolate"`

	// severity is copied to events and never judged.
	//
	// +optional
	Severity Severity `json:"severity,omitempty"`

	// message tells people why the policy exists. It is copied to events and
	// never judged.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`

	// tags are copied to events and never judged.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Tags []Tag `json:"tags,omitempty"`

	// expiresAt is when the policy stops being in force. The controller then
	// sets the condition Expired and compiles the policy away; the object
	// stays. An expired Deny or isolation opens traffic. Moving expiresAt into
	// the future puts the policy in force again.
	//
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// ingress lists rules about connections to the subject. Their order does
	// not change a verdict.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=50
	Ingress []NetworkPolicyIngressRule `json:"ingress,omitempty"`

	// egress lists rules about connections from the subject. Their order does
	// not change a verdict.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=50
	Egress []NetworkPolicyEgressRule `json:"egress,omitempty"`
}

// NetworkPolicySubject selects endpoints of the policy's own namespace. Exactly
// one member is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.pods) != has(self.externalWorkloads)",message="subject has exactly one of pods and externalWorkloads: write pods: {} for every pod of the namespace, and a second policy for the other (shape 9)"
type NetworkPolicySubject struct {
	// pods selects pods by their labels; {} selects every pod of the
	// namespace. Host-network pods are never selected: they are their node.
	//
	// +optional
	Pods *LabelSelector `json:"pods,omitempty"`

	// externalWorkloads selects ExternalWorkload objects by their labels; {}
	// selects all of the namespace. A node enforces only for endpoints that it
	// hosts, and no node hosts an external workload: such a policy is compiled
	// and explained, and Programmed is False with reason NoEnforcer until an
	// agent runs on the workload itself.
	//
	// +optional
	ExternalWorkloads *LabelSelector `json:"externalWorkloads,omitempty"`
}

// NetworkPolicyIngressRule is about connections to the subject.
type NetworkPolicyIngressRule struct {
	// name is unique among the policy's ingress rules.
	Name RuleName `json:"name"`

	// action is what happens to a connection that the rule matches.
	//
	// +kubebuilder:validation:Enum=Accept;Deny
	Action Action `json:"action"`

	// from lists the clients that the rule matches; they unite. Absent or
	// empty, the rule matches every client.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	From []Peer `json:"from,omitempty"`

	// protocols lists the protocols and ports of the subject that the rule
	// matches; they unite. Absent or empty, the rule matches every protocol.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Protocols []Protocol `json:"protocols,omitempty"`

	// log sends a flow event for every connection that this rule decides, also
	// when it accepts. Denied connections are always sent.
	//
	// +optional
	Log bool `json:"log,omitempty"`
}

// NetworkPolicyEgressRule is about connections from the subject.
//
// +kubebuilder:validation:XValidation:rule="!has(self.to) || !has(self.protocols) || !self.protocols.exists(p, has(p.destinationNamedPort)) || !self.to.exists(p, has(p.nodes) || has(p.ipBlock) || has(p.networks) || has(p.addressGroups) || (has(p.entities) && p.entities.exists(e, e != 'Cluster')))",message="destinationNamedPort cannot be used with nodes, ipBlock, networks, addressGroups or the entities World, Host and APIServer, which have no named ports: use a port number, or move those peers to a rule of their own (shape 7)"
type NetworkPolicyEgressRule struct {
	// name is unique among the policy's egress rules.
	Name RuleName `json:"name"`

	// action is what happens to a connection that the rule matches.
	//
	// +kubebuilder:validation:Enum=Accept;Deny
	Action Action `json:"action"`

	// to lists the servers that the rule matches; they unite. A server is
	// matched by its own address, not by that of a Service in front of it.
	// Absent or empty, the rule matches every server.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	To []Peer `json:"to,omitempty"`

	// protocols lists the protocols and ports of the server that the rule
	// matches; they unite. Absent or empty, the rule matches every protocol.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Protocols []Protocol `json:"protocols,omitempty"`

	// log sends a flow event for every connection that this rule decides, also
	// when it accepts. Denied connections are always sent.
	//
	// +optional
	Log bool `json:"log,omitempty"`
}
