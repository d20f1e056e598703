package v1alpha1

// PrivilegeSection says what a container may do beyond what an ordinary process
// may. A privilege that the container does not have in the first place is not
// given to it by a rule that accepts it.
//
// +kubebuilder:validation:XValidation:rule="self.default == 'Deny' || (has(self.rules) && size(self.rules) > 0) || (has(self.exceptions) && size(self.exceptions) > 0)",message="the section privileges does nothing: add a rule or an exception, set default to Deny, or remove the section (shape 11)"
// +kubebuilder:validation:XValidation:rule="!has(self.rules) || !has(self.exceptions) || self.exceptions.all(e, !self.rules.exists(r, r.name == e.name))",message="a rule and an exception of privileges have the same name: rename one, so that an event can name which decided (shape 12)"
type PrivilegeSection struct {
	// default says what happens to what no rule of any policy of the tier
	// matches: Accept leaves it to the next tier, Deny isolates the section, so
	// that only what a rule accepts may be done. Deny is refused in the Admin
	// tier.
	//
	// +optional
	// +kubebuilder:default=Accept
	// +kubebuilder:validation:Enum=Accept;Deny
	Default Action `json:"default,omitempty"`

	// rules lists rules. Their order does not change a verdict. All rules about
	// privileges that apply to one container may be 58 at most, over all policies
	// together and with exceptions and defaults of Deny; a policy beyond that is
	// refused with the reason OverCapacity.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=50
	Rules []PrivilegeRule `json:"rules,omitempty"`

	// exceptions lists what is allowed for a time.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Exceptions []PrivilegeException `json:"exceptions,omitempty"`
}

// PrivilegeRule matches privileged operations.
//
// +kubebuilder:validation:XValidation:rule="!has(self.capabilities) || (has(self.operations) && self.operations.exists(o, o == 'Capability'))",message="capabilities belong to the operation Capability: add it to operations, or remove capabilities (shape 68)"
type PrivilegeRule struct {
	RuntimeRule `json:",inline"`

	// operations lists the operations that the rule matches. Absent, it matches
	// all of them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=15
	Operations []PrivilegeOperation `json:"operations,omitempty"`

	// capabilities narrows the operation Capability to these; other operations
	// of the rule are matched all the same. Absent, every capability matches.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=41
	Capabilities []Capability `json:"capabilities,omitempty"`
}

// PrivilegeException allows privileged operations for a time.
//
// +kubebuilder:validation:XValidation:rule="!has(self.capabilities) || self.operations.exists(o, o == 'Capability')",message="capabilities belong to the operation Capability: add it to operations, or remove capabilities (shape 68)"
type PrivilegeException struct {
	RuntimeException `json:",inline"`

	// operations lists the operations that the exception allows.
	//
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=15
	Operations []PrivilegeOperation `json:"operations"`

	// capabilities narrows the operation Capability to these. Absent, every
	// capability matches.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=41
	Capabilities []Capability `json:"capabilities,omitempty"`
}

// PrivilegeOperation is something that only some processes may do.
//
// +kubebuilder:validation:Enum=Capability;SetUser;SetGroup;UserNamespace;JoinNamespace;Ptrace;Mount;Chroot;PivotRoot;LoadModule;LoadBPF;WriteExecMemory;IOUring;RawSocket;PacketSocket
type PrivilegeOperation string

const (
	// PrivilegeCapability is using a capability that the process has. Being
	// asked whether one has it, without use, is not told from it by the kernel.
	//
	// What an overlay file system needs for itself, when a process makes a
	// directory or first changes a file of the image, is not the process's use,
	// unless the process has used io_uring since it was executed: then it is
	// judged too, since the two cannot be told apart.
	PrivilegeCapability PrivilegeOperation = "Capability"
	// PrivilegeSetUser is changing a user id, by set*uid or by executing a
	// set-user-id file.
	PrivilegeSetUser PrivilegeOperation = "SetUser"
	// PrivilegeSetGroup is changing a group id or the supplementary groups, by
	// set*gid, setgroups or by executing a set-group-id file.
	PrivilegeSetGroup PrivilegeOperation = "SetGroup"
	// PrivilegeUserNamespace is making a user namespace.
	PrivilegeUserNamespace PrivilegeOperation = "UserNamespace"
	// PrivilegeJoinNamespace is joining a namespace of another process (setns).
	PrivilegeJoinNamespace PrivilegeOperation = "JoinNamespace"
	// PrivilegePtrace is tracing another process, and reading or writing its
	// memory.
	PrivilegePtrace PrivilegeOperation = "Ptrace"
	// PrivilegeMount is mounting, copying, moving and unmounting mounts, and
	// changing their options.
	PrivilegeMount PrivilegeOperation = "Mount"
	// PrivilegeChroot is changing the root directory of the process.
	PrivilegeChroot PrivilegeOperation = "Chroot"
	// PrivilegePivotRoot is changing the root of the mount namespace.
	PrivilegePivotRoot PrivilegeOperation = "PivotRoot"
	// PrivilegeLoadModule is loading a kernel module, from a file, from memory,
	// or by having the kernel request one.
	PrivilegeLoadModule PrivilegeOperation = "LoadModule"
	// PrivilegeLoadBPF is any use of the bpf system call: loading eBPF programs,
	// creating maps, and also opening pinned ones, look-ups and queries.
	PrivilegeLoadBPF PrivilegeOperation = "LoadBPF"
	// PrivilegeWriteExecMemory is making memory executable that is or was
	// writable: anonymous memory, shared or not, changed private mappings, and
	// shared mappings of files that can be written. Just-in-time compilers do
	// this. Memory that is mapped twice, once to write and once to execute, is
	// not known as such: the origin Memory of executables stops a memfd.
	PrivilegeWriteExecMemory PrivilegeOperation = "WriteExecMemory"
	// PrivilegeIOUring is setting up io_uring. What is done through one that is
	// set up is judged like the same thing done by a system call.
	PrivilegeIOUring PrivilegeOperation = "IOUring"
	// PrivilegeRawSocket is creating a raw IP socket.
	PrivilegeRawSocket PrivilegeOperation = "RawSocket"
	// PrivilegePacketSocket is creating a socket of the packet family.
	PrivilegePacketSocket PrivilegeOperation = "PacketSocket"
)

// Capability is the name of a Linux capability without the prefix CAP_, as in a
// container's securityContext.
//
// +kubebuilder:validation:Enum=CHOWN;DAC_OVERRIDE;DAC_READ_SEARCH;FOWNER;FSETID;KILL;SETGID;SETUID;SETPCAP;LINUX_IMMUTABLE;NET_BIND_SERVICE;NET_BROADCAST;NET_ADMIN;NET_RAW;IPC_LOCK;IPC_OWNER;SYS_MODULE;SYS_RAWIO;SYS_CHROOT;SYS_PTRACE;SYS_PACCT;SYS_ADMIN;SYS_BOOT;SYS_NICE;SYS_RESOURCE;SYS_TIME;SYS_TTY_CONFIG;MKNOD;LEASE;AUDIT_WRITE;AUDIT_CONTROL;SETFCAP;MAC_OVERRIDE;MAC_ADMIN;SYSLOG;WAKE_ALARM;BLOCK_SUSPEND;AUDIT_READ;PERFMON;BPF;CHECKPOINT_RESTORE
type Capability string

// Capabilities lists every capability; the position of each is its number in
// the kernel.
var Capabilities = []Capability{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL",
	"SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE",
	"NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
	"SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
	"SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL",
	"SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM",
	"BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
}
