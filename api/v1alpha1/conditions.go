package v1alpha1

// Condition types. Every condition that Palisade writes has one of these types
// and one of the reasons below; a reason is part of the API.
const (
	// ConditionAccepted is True when the current spec is valid and compiled.
	// While it is False, nodes enforce the last spec that was accepted, if any.
	// Reasons: Accepted, Expired; Invalid, Unsupported, OverCapacity,
	// AddressConflict; Pending.
	ConditionAccepted = "Accepted"

	// ConditionProgrammed is True when every node that needs the policy has
	// acknowledged a snapshot that holds it. Reasons: Realized, NoSubjects,
	// Observing, Expired; Pending, NodeLate, NodeRefused, NodeUnreachable,
	// KernelUnsupported, BackendCannotPrevent, SysctlOff, DatapathBypassed,
	// NoEnforcer, NotAccepted.
	ConditionProgrammed = "Programmed"

	// ConditionReady is True when the object is Accepted and every node that
	// needs it and is itself Ready enforces it. A node that is not Ready is
	// counted as unreachable and named in the message, and holds nobody up.
	// Reasons: those of Programmed; while the object is not Accepted, the
	// reason of that.
	ConditionReady = "Ready"

	// ConditionStalled is present, and True, only while nothing will change
	// without somebody changing the object, a node or the capacity. Reasons:
	// Invalid, Unsupported, OverCapacity, AddressConflict, NodeRefused,
	// KernelUnsupported, BackendCannotPrevent, SysctlOff, DatapathBypassed,
	// NoEnforcer.
	ConditionStalled = "Stalled"

	// ConditionReconciling is present, and True, only while the controller or
	// nodes are at work on the current spec. Reasons: Pending, NodeLate.
	ConditionReconciling = "Reconciling"

	// ConditionExpired is present, and True, once spec.expiresAt has passed.
	// The compiler has no clock: it reads this. Reason: Expired.
	ConditionExpired = "Expired"
)

// Reasons of a condition that is True.
const (
	// ReasonAccepted: the spec is valid and compiled.
	ReasonAccepted = "Accepted"

	// ReasonRealized: every node that needs the policy enforces it; or, for a
	// peer object, a published snapshot holds it.
	ReasonRealized = "Realized"

	// ReasonNoSubjects: the subject selects no endpoint at present, so no node
	// needs the policy. It will be in force before a pod that it selects runs.
	ReasonNoSubjects = "NoSubjects"

	// ReasonObserving: the policy is in mode Audit. The message says "observing,
	// not enforcing".
	ReasonObserving = "Observing"

	// ReasonExpired: spec.expiresAt has passed and the policy is not in force.
	// It is Ready all the same: this is what was asked for.
	ReasonExpired = "Expired"
)

// Reasons of a condition that is Unknown, or False for the time being.
const (
	// ReasonPending: the controller has not finished with the current spec, or
	// nodes have not yet acknowledged it.
	ReasonPending = "Pending"

	// ReasonNodeLate: a node has not acknowledged for 30 s. The message names
	// it.
	ReasonNodeLate = "NodeLate"

	// ReasonNodeUnreachable: a node that needs the policy is not Ready or not
	// connected. It enforces the last snapshot that it had.
	ReasonNodeUnreachable = "NodeUnreachable"
)

// Reasons of a condition that is False until somebody acts.
const (
	// ReasonInvalid: the spec contradicts itself in a way that the schema could
	// not refuse. The message names the field.
	ReasonInvalid = "Invalid"

	// ReasonUnsupported: the spec asks for what this version of Palisade or
	// every present node cannot enforce exactly.
	ReasonUnsupported = "Unsupported"

	// ReasonOverCapacity: the compiled policy does not fit. Among the policies
	// that contend for the space the newest revision loses, then the namespace
	// and name that sort last. Nothing is truncated.
	ReasonOverCapacity = "OverCapacity"

	// ReasonAddressConflict: an address of the ExternalWorkload is already a
	// pod's, a node's, inside a range of the cluster, or another
	// ExternalWorkload's.
	ReasonAddressConflict = "AddressConflict"

	// ReasonNotAccepted: the object cannot be programmed or ready because it is
	// not accepted; Accepted says why.
	ReasonNotAccepted = "NotAccepted"

	// ReasonNodeRefused: a node verified a snapshot with the policy and refused
	// it. status.failures says why.
	ReasonNodeRefused = "NodeRefused"

	// ReasonKernelUnsupported: a node's kernel lacks what enforcement needs.
	ReasonKernelUnsupported = "KernelUnsupported"

	// ReasonBackendCannotPrevent: a node's kernel can only kill or report after
	// the fact what the policy denies, and its minimumBackend is Prevent. The
	// node does what it can.
	ReasonBackendCannotPrevent = "BackendCannotPrevent"

	// ReasonSysctlOff: a kernel setting that enforcement needs is off on a node
	// and the agent may not set it.
	ReasonSysctlOff = "SysctlOff"

	// ReasonDatapathBypassed: traffic on a node goes around the hook, so the
	// node does not enforce, whatever it has acknowledged.
	ReasonDatapathBypassed = "DatapathBypassed"

	// ReasonNoEnforcer: nothing that the controller knows of enforces the policy.
	// Its subject is external workloads, which no node hosts. Where palisade
	// apply --workload enforces the part runtime on one, nobody reports it.
	ReasonNoEnforcer = "NoEnforcer"
)
