// Package wire is the protocol between controller and agent: the generated
// messages of snapshot.proto, their translation from and to package snapshot,
// and the strictness with which both sides read them.
//
// Nothing in it belongs to a connection: a relay may store what a controller
// sent and send it on to the node that it is for.
package wire

//go:generate ../../hack/generate-proto.sh

// Audience is the audience of the tokens that Enroll takes.
const Audience = "palisade-controller"

// The bounds of a transfer.
const (
	MaxChunk    = 64 << 10 // bytes of one chunk
	MaxTransfer = 1 << 30  // bytes of all chunks of a transfer
	// MaxMessage bounds every gRPC message; reports are cut to it by their sender.
	MaxMessage = 1 << 20
)

// Why an agent refuses a generation. They are part of the protocol and appear
// in the status of policies.
const (
	// ReasonDamaged: the transfer does not decode or has the wrong digest.
	ReasonDamaged = "Damaged"
	// ReasonSignature: the commit is not signed by a trusted key.
	ReasonSignature = "SignatureInvalid"
	// ReasonReplay: the generation is not newer than the one in force.
	ReasonReplay = "Replayed"
	// ReasonBase: the delta starts from a state that the agent does not hold.
	ReasonBase = "BaseUnknown"
	// ReasonFormat: the format is not one that the agent reads.
	ReasonFormat = "FormatUnknown"
	// ReasonCapacity: the node's tables cannot hold the snapshot.
	ReasonCapacity = "CapacityExceeded"
	// ReasonKernel: the kernel refused a program or a map.
	ReasonKernel = "KernelRefused"
	// ReasonUnsupported: the snapshot needs what this node cannot enforce.
	ReasonUnsupported = "Unsupported"
	// ReasonInternal: anything else, which the message describes.
	ReasonInternal = "InternalError"
)

// CapabilityRuntime is announced by agents that know the tables of runtime rules. Those
// that do not are sent snapshots without these (snapshot.Entry.NeedsRuntime).
const CapabilityRuntime = "runtime"

// The types of the conditions of a Report that status reads.
const (
	// ConditionEnforcing: as far as the agent can tell, what the node enforces is its
	// snapshot and no packet goes around it. While it does not hold, no policy is Programmed on the node, for the condition's reason.
	ConditionEnforcing = "Enforcing"
	// ConditionRuntime, with a section of runtime rules after it, says by which backend
	// the node enforces that section: its reason is lsm, fmod_ret, cgroup, signal or
	// none, and its message why not a stronger one. It holds unless there is none.
	ConditionRuntime = "Runtime"
	// ConditionConfirmedBoot: the node's boot order loads the last snapshot before pods run.
	ConditionConfirmedBoot = "BootProtected"
)
