package model

import "net/netip"

// Section is the part of a runtime policy that a rule is in. Sections are judged
// apart: a rule of one never decides about an operation of another.
type Section uint8

// The sections.
const (
	SectionExecutables Section = iota // what is executed, and mapped to be executed
	SectionFiles                      // what is done to files and directories
	SectionPrivileges                 // what needs a privilege
	SectionNetwork                    // what is done with sockets
	Sections           = 4            // how many there are
)

// String is the name that fields of the API and rules in events have.
func (s Section) String() string {
	return [...]string{"executables", "files", "privileges", "network"}[s]
}

// RuntimeAction is what a rule of a section asks for.
type RuntimeAction uint8

// The actions, strongest first: inside a tier an exception goes before Kill
// before Deny before Accept. Audit stands where Deny does, in the staged world
// alone.
const (
	RuntimeExcept RuntimeAction = iota // an exception: an Accept ahead of its whole tier
	RuntimeKill                        // denies, and kills the process
	RuntimeDeny
	RuntimeAccept
	RuntimeAudit
)

// Strength orders rules of one tier: the smaller is asked first.
func (a RuntimeAction) Strength() int {
	if a == RuntimeAudit {
		return int(RuntimeDeny)
	}
	return int(a)
}

// Verdict is what a rule with this action decides.
func (a RuntimeAction) Verdict() Verdict {
	switch a {
	case RuntimeExcept, RuntimeAccept:
		return Allow
	case RuntimeKill:
		return Kill
	default:
		return Deny
	}
}

// FileOperation is an operation of the section files, as a bit.
type FileOperation uint32

// The operations on files. Renaming and linking are judged at both ends: the
// source as Rename or Link, the target as Create, and as Delete of what it replaces.
const (
	FileRead FileOperation = 1 << iota
	FileWrite
	FileCreate
	FileDelete
	FileRename
	FileLink
	FileAttributes
	FileMapExecutable
	FileOperations = FileMapExecutable<<1 - 1 // all of them
)

// PrivilegeOperation is an operation of the section privileges, as a bit.
type PrivilegeOperation uint32

// The privileges.
const (
	PrivilegeCapability PrivilegeOperation = 1 << iota // with a list of capabilities; none: any
	PrivilegeSetUser
	PrivilegeSetGroup
	PrivilegeUserNamespace
	PrivilegeJoinNamespace
	PrivilegePtrace
	PrivilegeMount
	PrivilegeChroot
	PrivilegePivotRoot
	PrivilegeLoadModule
	PrivilegeLoadBPF
	PrivilegeWriteExecMemory
	PrivilegeIOUring
	PrivilegeRawSocket
	PrivilegePacketSocket
	PrivilegeOperations = PrivilegePacketSocket<<1 - 1 // all of them
)

// SocketOperation is an operation of the section network, as a bit.
type SocketOperation uint32

// The operations on sockets. Address and port are the remote end's, for Bind and
// Listen the own end's.
const (
	SocketConnect SocketOperation = 1 << iota
	SocketBind
	SocketListen
	SocketSend
	SocketOperations = SocketSend<<1 - 1 // all of them
)

// Origin says where an object comes from, as a bit.
type Origin uint8

// The origins.
const (
	OriginImage    Origin = 1 << iota // unchanged since the image
	OriginModified                    // on something that the container can write
	OriginMemory                      // memfd, unlinked, anonymous
	OriginOutside                     // of no mount of the container
)

// Owner says which processes a rule about files is about.
type Owner uint8

// The ways to look at the owner.
const (
	OwnerAny  Owner = iota
	OwnerOnly       // only processes whose file system UID owns the file
	OwnerNot        // only those that do not own it
)

// PauseContainer is the name by which a policy means the sandbox of a pod. Rules
// of policies that name no containers are about all of them but this one.
const PauseContainer = "pause"

// Runtime is the part of a policy that is about processes.
type Runtime struct {
	Containers []string // sorted; empty: all but the sandbox
	// Prevent: a node that cannot prevent what the policy denies fails it. It is
	// for the policy's status, and changes no row.
	Prevent  bool
	Sections [Sections]RuntimeSection
}

// RuntimeSection is one section of a policy.
type RuntimeSection struct {
	Isolates bool // what nothing accepts is denied; never in TierAdmin
	Rules    []RuntimeRule
}

// RuntimeRule matches an operation of its section if each of its conditions
// does. A condition that is zero is none.
type RuntimeRule struct {
	Name   string // unique in its section
	Action RuntimeAction

	Operations   uint32 // bits of the section
	Origins      Origin // bits
	Owner        Owner
	Capabilities uint64 // bits, by the numbers of capabilities

	// The object is one of Paths, one of Directories or below it, or begins and
	// ends as one of Globs says. All three empty: any object.
	Paths       []string // these and all other lists are sorted, without repetitions
	Directories []string
	Globs       []Glob

	// The process executes one of From or, with FromDescendants, descends from one
	// that did so inside the container.
	From            []string
	FromDescendants bool

	Peers []Peer // network: the other end; empty: any. Bind and Listen: the own end
	Ports []RuntimePorts

	Arguments []string // RuntimeAudit only: one of them is an argument

	// Copied to events, never judged.
	Severity  string
	Message   string
	Tags      []string
	RateLimit uint32 // events a second; 0: whatever the agent does
}

// Glob matches a path that begins with Prefix and ends with Suffix, both without
// overlap.
type Glob struct {
	Prefix string
	Suffix string
}

// RuntimePorts is a range of ports, both ends included. Proto is ProtoAny for
// all protocols that have ports.
type RuntimePorts struct {
	Proto  Protocol
	Lo, Hi Port
}

// Operation is a question: may a process of a container do this?
type Operation struct {
	Section Section
	// Bits are the operations asked about, one of the section at least, zero for
	// executables. A rule that names operations matches if it names one of these.
	Bits uint32

	// Executables and files.
	Path         string // absolute, resolved by the kernel
	Unresolvable bool   // there is no such path: it is too long
	Origin       Origin // one bit
	Mapping      bool   // executables: a file is mapped to be executed, not executed
	Directory    bool   // files: the object is a directory
	Owned        bool   // files: the process's file system UID owns the object

	Capability uint8 // privileges: the one asked for, where Bits has PrivilegeCapability

	// Network.
	Address netip.Addr // never v4-mapped; invalid: none (a socket of another family)
	Proto   Protocol
	Port    Port

	// Who acts: what the process executes, and what its ancestors inside the
	// container, and itself before, executed.
	Executable string
	Ancestry   []string
	// DeepAncestry: more was executed than is remembered, so that From matches for
	// every rule that refuses and for none that accepts.
	DeepAncestry bool

	Arguments []string // executables: the command line
}
