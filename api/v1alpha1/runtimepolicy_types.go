package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RuntimePolicy says what the containers of pods in its own namespace may
// execute, do to files, do with privileges and do with sockets. It stands in
// the Namespace tier.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=runtimepolicies,singular=runtimepolicy,shortName=rtp,categories=palisade,scope=Namespaced
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`
// +kubebuilder:printcolumn:name="Backend",type=string,JSONPath=`.spec.minimumBackend`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Realized",type=integer,JSONPath=`.status.nodes.realized`
// +kubebuilder:printcolumn:name="Nodes",type=integer,JSONPath=`.status.nodes.desired`
// +kubebuilder:printcolumn:name="Endpoints",type=integer,JSONPath=`.status.endpoints`,priority=1
// +kubebuilder:printcolumn:name="Severity",type=string,JSONPath=`.spec.severity`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RuntimePolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the policy asks for. What nodes enforce is the last spec
	// that was accepted: a later one that is refused leaves it in force, and
	// Accepted says so.
	Spec RuntimePolicySpec `json:"spec"`

	// status is where the policy is in force. Only the controller writes it.
	//
	// +optional
	// +kubebuilder:default={conditions: {{type: "Accepted", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Programmed", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}, {type: "Ready", status: "Unknown", reason: "Pending", message: "waiting for the controller", lastTransitionTime: "1970-01-01T00:00:00Z"}}}
	Status PolicyStatus `json:"status,omitempty"`
}

// RuntimePolicyList is a list of RuntimePolicy objects.
//
// +kubebuilder:object:root=true
type RuntimePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RuntimePolicy `json:"items"`
}

// RuntimePolicySpec is judged for every operation of a process in a container
// of the subject, each section by itself. Tiers are judged in this order: the
// runtime parts of ClusterwidePolicy objects of the Admin tier, every
// RuntimePolicy of the pod's namespace, and the runtime parts of the Baseline
// tier. Inside a tier the verdict depends on no order of rules:
//
//  1. If an exception of any policy of the tier matches, the verdict is Allow.
//  2. Else, if a Kill rule of any of them matches, the verdict is Kill: the
//     operation is denied and the process is killed.
//  3. Else, if a Deny rule of any of them matches, the verdict is Deny: the
//     operation fails with EPERM.
//  4. Else, if an Accept rule of any of them matches, the verdict is Allow.
//  5. Else, if any of them isolates the section (default: Deny), the verdict
//     is Deny. The Admin tier cannot isolate.
//  6. Else the next tier decides. What no tier decides is allowed, and the
//     verdict names the built-in default.
//
// Where several rules could be named as the one that decided, the verdict names
// that of the ClusterwidePolicy of the lowest priority, then of the policy whose
// name sorts first, then the rule whose name sorts first.
type RuntimePolicySpec struct {
	// mode says whether the policy is in force (Enforce) or only observed
	// (Audit).
	//
	// +optional
	// +kubebuilder:default=Enforce
	Mode Mode `json:"mode,omitempty"`

	// subject selects the containers that the policy is about.
	Subject RuntimePolicySubject `json:"subject"`

	// minimumBackend is what a node must be able to do for the policy. A node
	// that cannot is counted as failed, by name and with the reason
	// BackendCannotPrevent, and does what it can all the same.
	//
	// +optional
	// +kubebuilder:default=Any
	MinimumBackend MinimumBackend `json:"minimumBackend,omitempty"`

	// severity is copied to events and never judged. A rule may have its own.
	//
	// +optional
	Severity Severity `json:"severity,omitempty"`

	// message tells people why the policy exists. It is copied to events and
	// never judged. A rule may have its own.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`

	// tags are copied to events and never judged, together with the rule's.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Tags []Tag `json:"tags,omitempty"`

	// expiresAt is when the policy stops being in force. The controller then
	// sets the condition Expired and compiles the policy away; the object
	// stays. An expired Deny, Kill or isolation allows what it stopped. Moving
	// expiresAt into the future puts the policy in force again.
	//
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	RuntimeRules `json:",inline"`
}

// RuntimePolicySubject selects containers of the policy's own namespace.
type RuntimePolicySubject struct {
	// pods selects pods by their labels; {} selects every pod of the
	// namespace. Host-network and static pods are selected too: what runs in a
	// pod is judged by its cgroup, not by its address.
	Pods LabelSelector `json:"pods"`

	// containers narrows the subject to the containers of these names, ordinary,
	// init and ephemeral alike. Absent, it is every container of the pods except
	// the pod's own sandbox, which holds its namespaces and which the name pause
	// stands for. A container of the pod that is itself called pause cannot be
	// told from it and is selected together with it.
	//
	// A name becomes known to the node only when the container is created.
	// Until then, which is a moment, every rule about any container of the pod
	// applies to it, and of several the strictest counts.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Containers []ContainerName `json:"containers,omitempty"`
}

// ContainerName is the name of a container of a pod.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
type ContainerName string

// PauseContainer is the name that stands for a pod's sandbox.
const PauseContainer ContainerName = "pause"

// MinimumBackend is what a node must be able to do to enforce a policy.
//
// +kubebuilder:validation:Enum=Any;Prevent
type MinimumBackend string

const (
	// BackendAny takes what the node has: it prevents, or kills after the fact,
	// or only reports. Programmed says on how many nodes which.
	BackendAny MinimumBackend = "Any"
	// BackendPrevent wants every operation that the policy denies to fail before
	// it has an effect. It needs a kernel with BPF LSM or error injection; for
	// connect, bind and send, cgroup hooks do.
	BackendPrevent MinimumBackend = "Prevent"
)
