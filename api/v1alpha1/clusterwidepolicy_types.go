package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ClusterwidePolicy holds ordered rules for endpoints of any namespace, before
// (Admin) or after (Baseline) what namespaces say for themselves.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=clusterwidepolicies,singular=clusterwidepolicy,shortName=cwp,categories=palisade,scope=Cluster
// +kubebuilder:printcolumn:name="Tier",type=string,JSONPath=`.spec.tier`
// +kubebuilder:printcolumn:name="Priority",type=integer,JSONPath=`.spec.priority`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Realized",type=integer,JSONPath=`.status.nodes.realized`
// +kubebuilder:printcolumn:name="Nodes",type=integer,JSONPath=`.status.nodes.desired`
// +kubebuilder:printcolumn:name="Endpoints",type=integer,JSONPath=`.status.endpoints`,priority=1
// +kubebuilder:printcolumn:name="Severity",type=string,JSONPath=`.spec.severity`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterwidePolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the policy asks for. What nodes enforce is the last spec
	// that was accepted: a later one that is refused leaves it in force, and
	// Accepted says so.
	Spec ClusterwidePolicySpec `json:"spec"`

	// status is where the policy is in force. Only the controller writes it.
	//
	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Programmed", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PolicyStatus `json:"status,omitempty"`
}

// ClusterwidePolicyList is a list of ClusterwidePolicy objects.
//
// +kubebuilder:object:root=true
type ClusterwidePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterwidePolicy `json:"items"`
}

// ClusterwidePolicySpec is judged in its tier, per direction: policies by
// ascending priority, and inside a policy its rules in the order in which they
// are written; the first rule that matches decides. Among policies of equal
// priority a matching Deny decides before a matching Accept, and that before a
// matching Pass, where each policy speaks through its first matching rule; if
// the actions are equal too, the policy whose name sorts first is the one that
// decided. Pass goes on to the next tier, and so does a connection that no rule
// matches.
//
// The Admin tier comes first, then the Namespace tier (every NetworkPolicy),
// then the Baseline tier. What nothing decides is allowed, and the verdict
// names the built-in default.
//
// The part runtime is judged by the same tiers and by the order that
// [RuntimePolicySpec] describes.
//
// +kubebuilder:validation:XValidation:rule="(has(self.ingress) && size(self.ingress) > 0) || (has(self.egress) && size(self.egress) > 0) || has(self.runtime)",message="the policy does nothing: add a rule to ingress or egress, or a section to runtime (shape 11)"
// +kubebuilder:validation:XValidation:rule="self.tier != 'Admin' || !has(self.runtime) || ((!has(self.runtime.executables) || self.runtime.executables.default != 'Deny') && (!has(self.runtime.files) || self.runtime.files.default != 'Deny') && (!has(self.runtime.privileges) || self.runtime.privileges.default != 'Deny') && (!has(self.runtime.network) || self.runtime.network.default != 'Deny'))",message="the Admin tier cannot isolate: write rules with action Deny, or move the policy to the Baseline tier, where default may be Deny (shape 61)"
// +kubebuilder:validation:XValidation:rule="!((has(self.ingress) && size(self.ingress) > 0) || (has(self.egress) && size(self.egress) > 0)) || (!has(self.subject.nodes) && !has(self.subject.containers))",message="subject.nodes and subject.containers are about runtime alone: move ingress and egress to a policy of their own (shape 62)"
// +kubebuilder:validation:XValidation:rule="!has(self.runtime) || !has(self.runtime.network) || ((!has(self.runtime.network.rules) || self.runtime.network.rules.all(r, !has(r.peers) || r.peers.all(p, (!has(p.pods) || has(p.pods.namespaceSelector)) && (!has(p.externalWorkloads) || has(p.externalWorkloads.namespaceSelector))))) && (!has(self.runtime.network.exceptions) || self.runtime.network.exceptions.all(r, !has(r.peers) || r.peers.all(p, (!has(p.pods) || has(p.pods.namespaceSelector)) && (!has(p.externalWorkloads) || has(p.externalWorkloads.namespaceSelector))))))",message="a ClusterwidePolicy has no namespace of its own: give each pods and externalWorkloads peer in runtime.network a namespaceSelector, {} for every namespace (shape 9)"
type ClusterwidePolicySpec struct {
	// tier is the tier of the policy. It cannot be changed: create a policy
	// with another name in the other tier, then delete this one.
	//
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="tier cannot be changed: create a policy with another name in the other tier, then delete this one (shape 16)"
	Tier Tier `json:"tier"`

	// priority orders policies inside a tier; lower is judged first. No value
	// is reserved.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Priority int32 `json:"priority"`

	// mode says whether the policy is in force (Enforce) or only observed
	// (Audit).
	//
	// +optional
	// +kubebuilder:default=Enforce
	Mode Mode `json:"mode,omitempty"`

	// subject selects the endpoints that the policy protects.
	Subject ClusterwidePolicySubject `json:"subject"`

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
	// stays. An expired Deny opens traffic. Moving expiresAt into the future
	// puts the policy in force again.
	//
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// ingress lists rules about connections to the subject, in the order in
	// which they are judged.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:XValidation:rule="self.all(r, self.exists_one(o, o.name == r.name))",message="two ingress rules have the same name: rename one, so that a verdict can name the rule that decided (shape 12)"
	Ingress []ClusterwidePolicyIngressRule `json:"ingress,omitempty"`

	// egress lists rules about connections from the subject, in the order in
	// which they are judged.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:XValidation:rule="self.all(r, self.exists_one(o, o.name == r.name))",message="two egress rules have the same name: rename one, so that a verdict can name the rule that decided (shape 12)"
	Egress []ClusterwidePolicyEgressRule `json:"egress,omitempty"`

	// runtime is what the subject's containers may execute, do to files, do with
	// privileges and do with sockets.
	//
	// +optional
	Runtime *ClusterwideRuntime `json:"runtime,omitempty"`
}

// ClusterwidePolicySubject selects endpoints in any namespace. Exactly one
// member besides containers is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.namespaces), has(self.pods), has(self.externalWorkloads), has(self.nodes)].exists_one(set, set)",message="subject has exactly one of namespaces, pods, externalWorkloads and nodes: write namespaces: {} for every pod of the cluster, and a second policy for the others (shape 9)"
// +kubebuilder:validation:XValidation:rule="!has(self.containers) || (!has(self.externalWorkloads) && !has(self.nodes))",message="only pods have containers: remove containers, or select namespaces or pods (shape 62)"
type ClusterwidePolicySubject struct {
	// namespaces selects every pod in the namespaces whose labels the selector
	// matches; {} selects every pod of the cluster. For ingress and egress it
	// never selects host-network pods, which are their node; for runtime it
	// does. External workloads are never selected by it.
	//
	// +optional
	Namespaces *LabelSelector `json:"namespaces,omitempty"`

	// pods selects pods by their labels and their namespace's. Host-network
	// pods are selected for runtime alone: for ingress and egress they are their
	// node.
	//
	// +optional
	Pods *NamespacedPods `json:"pods,omitempty"`

	// externalWorkloads selects ExternalWorkload objects by their labels and
	// their namespace's. No node hosts an external workload, and no controller
	// hears of one: such a policy is compiled and explained, and Programmed is
	// False with reason NoEnforcer. On a host for which palisade apply --workload
	// was called with the workload's name, runtime holds all the same, for the
	// processes of the host itself and in every way as it does for those of a
	// node that nodes selects; the host is then no node, and nodes does not
	// select it. Nothing enforces ingress and egress of an external workload.
	//
	// +optional
	ExternalWorkloads *NamespacedExternalWorkloads `json:"externalWorkloads,omitempty"`

	// nodes selects nodes by their labels, for runtime alone: the processes of
	// the host itself, which are in the cgroup of no pod. {} selects every node.
	// The first process, the kubelet, the container runtime, whoever logs in,
	// and containers that the kubelet did not start are among them; kernel
	// threads are not, nor is the agent: whatever a policy denies, it runs and
	// can be started again from its own file. Which process comes first is of no
	// account, nor which user it has.
	//
	// Paths are those in the mount namespace of which the file's mount is, so
	// that a service with mounts of its own is judged by what it sees. A node has
	// no image: its files count as Modified, or as Image where its root is an
	// overlay; Memory is what it is in a container; nothing is Outside. The
	// container runtime's own process that starts a container is the node's until
	// it leaves the namespace of mounts with which it came, is judged by nobody
	// while it sets the container up, and is the container's from its next
	// execution on. Whoever may write to the cgroup file system can put a process
	// into a pod's cgroup, where the pod's rules judge it and the node's do not.
	//
	// +optional
	Nodes *LabelSelector `json:"nodes,omitempty"`

	// containers narrows namespaces and pods, for runtime alone, to the
	// containers of these names, ordinary, init and ephemeral alike. Absent, it
	// is every container except the pods' own sandboxes, which the name pause
	// stands for. Until a container's name is known to the node, which is a
	// moment after its creation, every rule about any container of the pod
	// applies to it, and of several the strictest counts.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Containers []ContainerName `json:"containers,omitempty"`
}

// NamespacedPods selects pods by their namespace and their labels; both must
// match.
type NamespacedPods struct {
	// namespaceSelector selects namespaces; {} selects every namespace.
	NamespaceSelector LabelSelector `json:"namespaceSelector"`

	// podSelector selects pods in those namespaces; {} selects all of them.
	PodSelector LabelSelector `json:"podSelector"`
}

// NamespacedExternalWorkloads selects external workloads by their namespace and
// their labels; both must match.
type NamespacedExternalWorkloads struct {
	// namespaceSelector selects namespaces; {} selects every namespace.
	NamespaceSelector LabelSelector `json:"namespaceSelector"`

	// selector selects external workloads in those namespaces; {} selects all
	// of them.
	Selector LabelSelector `json:"selector"`
}

// ClusterwidePolicyIngressRule is about connections to the subject.
//
// +kubebuilder:validation:XValidation:rule="!has(self.from) || self.from.all(p, (!has(p.pods) || has(p.pods.namespaceSelector)) && (!has(p.externalWorkloads) || has(p.externalWorkloads.namespaceSelector)))",message="a ClusterwidePolicy has no namespace of its own: give each pods and externalWorkloads peer in from a namespaceSelector, {} for every namespace (shape 9)"
type ClusterwidePolicyIngressRule struct {
	// name is unique among the policy's ingress rules.
	Name RuleName `json:"name"`

	// action is what happens to a connection that the rule matches.
	//
	// +kubebuilder:validation:Enum=Accept;Deny;Pass
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

// ClusterwidePolicyEgressRule is about connections from the subject.
//
// +kubebuilder:validation:XValidation:rule="!has(self.to) || self.to.all(p, (!has(p.pods) || has(p.pods.namespaceSelector)) && (!has(p.externalWorkloads) || has(p.externalWorkloads.namespaceSelector)))",message="a ClusterwidePolicy has no namespace of its own: give each pods and externalWorkloads peer in to a namespaceSelector, {} for every namespace (shape 9)"
// +kubebuilder:validation:XValidation:rule="!has(self.to) || !has(self.protocols) || !self.protocols.exists(p, has(p.destinationNamedPort)) || !self.to.exists(p, has(p.nodes) || has(p.ipBlock) || has(p.networks) || has(p.addressGroups) || (has(p.entities) && p.entities.exists(e, e != 'Cluster')))",message="destinationNamedPort cannot be used with nodes, ipBlock, networks, addressGroups or the entities World, Host and APIServer, which have no named ports: use a port number, or move those peers to a rule of their own (shape 7)"
type ClusterwidePolicyEgressRule struct {
	// name is unique among the policy's egress rules.
	Name RuleName `json:"name"`

	// action is what happens to a connection that the rule matches.
	//
	// +kubebuilder:validation:Enum=Accept;Deny;Pass
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
