package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicyStatus tells where a policy is in force.
//
// A node needs a policy if it hosts an endpoint that the policy's subject
// selects. Pods that come and go change no condition; a pod that moves to a
// node which is late by more than 30 s does.
//
// Tools that follow kstatus wait correctly: until the controller has seen the
// current spec, observedGeneration differs from metadata.generation; then Ready
// decides, and Stalled means that waiting is of no use.
type PolicyStatus struct {
	// observedGeneration is the metadata.generation that the rest of the status
	// speaks of; -1 before the controller has seen the object.
	//
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// snapshotGeneration is the first published snapshot generation that holds
	// the accepted spec. A node that has acknowledged this one or a later one
	// enforces the spec.
	//
	// +optional
	SnapshotGeneration int64 `json:"snapshotGeneration,omitempty"`

	// endpoints is how many endpoints the subject selects. For this alone the
	// status is written at most once a minute, so it may lag.
	//
	// +optional
	Endpoints int32 `json:"endpoints"`

	// nodes counts the nodes that need the policy.
	//
	// +optional
	Nodes NodeCounts `json:"nodes,omitzero"`

	// failures are the first ten nodes, by name, that refused the policy or
	// cannot enforce it, and why.
	//
	// +optional
	// +listType=map
	// +listMapKey=node
	// +kubebuilder:validation:MaxItems=10
	Failures []NodeFailure `json:"failures,omitempty"`

	// expiredExceptions are the exceptions of the runtime sections of the
	// accepted spec whose expiresAt has passed, as SECTION/NAME, for example
	// executables/migration. The compiler has no clock: it reads this.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=80
	ExpiredExceptions []string `json:"expiredExceptions,omitempty"`

	// conditions are Accepted, Programmed and Ready, always present; Expired
	// once the policy has expired; Stalled and Reconciling only while True.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// NodeCounts counts the nodes that need a policy, by how far each has come.
// What is missing from desired is on its way.
type NodeCounts struct {
	// desired is how many nodes need the policy.
	//
	// +optional
	Desired int32 `json:"desired"`

	// realized is how many of them enforce the accepted spec.
	//
	// +optional
	Realized int32 `json:"realized"`

	// failed is how many of them refused it or cannot enforce it.
	//
	// +optional
	Failed int32 `json:"failed"`

	// unreachable is how many of them are not Ready or not connected. They keep
	// enforcing the last snapshot that they had.
	//
	// +optional
	Unreachable int32 `json:"unreachable"`
}

// NodeFailure says why a node does not enforce a policy.
type NodeFailure struct {
	// node is the name of the Node.
	//
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`

	// reason is what the node answered, in words.
	//
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
}

// PeerStatus tells whether an object that policies refer to, an
// ExternalWorkload or an AddressGroup, is part of what nodes enforce.
type PeerStatus struct {
	// observedGeneration is the metadata.generation that the rest of the status
	// speaks of; -1 before the controller has seen the object.
	//
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// snapshotGeneration is the first published snapshot generation that holds
	// the accepted spec.
	//
	// +optional
	SnapshotGeneration int64 `json:"snapshotGeneration,omitempty"`

	// conditions are Accepted and Ready, always present; Stalled and
	// Reconciling only while True.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
