package v1alpha1

// ExecutableSection says which files may be executed.
//
// It judges every execve of a file, the script as well as the interpreter that
// the kernel starts for it, each by itself; a program that is handed a script
// as an argument (sh script) executes only the program. It also judges mapping a
// file as executable, so that a loader started by hand (ld.so ./program) and a
// library count: for a mapping, Kill and Deny rules decide wherever the file
// comes from, and isolation only where its origin is not Image. Code that an
// interpreter reads as data is not execution and cannot be stopped here; nor is
// code that a process writes into memory of its own, which WriteExecMemory of
// the section privileges is about.
//
// +kubebuilder:validation:XValidation:rule="self.default == 'Deny' || (has(self.rules) && size(self.rules) > 0) || (has(self.exceptions) && size(self.exceptions) > 0)",message="the section executables does nothing: add a rule or an exception, set default to Deny, or remove the section (shape 11)"
// +kubebuilder:validation:XValidation:rule="!has(self.rules) || !has(self.exceptions) || self.exceptions.all(e, !self.rules.exists(r, r.name == e.name))",message="a rule and an exception of executables have the same name: rename one, so that an event can name which decided (shape 12)"
type ExecutableSection struct {
	// default says what happens to what no rule of any policy of the tier
	// matches: Accept leaves it to the next tier, Deny isolates the section, so
	// that only what a rule accepts may be executed. Deny is refused in the
	// Admin tier. An allow-list without the container's own entrypoint keeps
	// the container from starting.
	//
	// +optional
	// +kubebuilder:default=Accept
	// +kubebuilder:validation:Enum=Accept;Deny
	Default Action `json:"default,omitempty"`

	// rules lists rules. Their order does not change a verdict.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=50
	Rules []ExecutableRule `json:"rules,omitempty"`

	// exceptions lists what is allowed for a time.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Exceptions []ExecutableException `json:"exceptions,omitempty"`
}

// ExecutableRule matches executions by the file that is executed. With no
// member of the match set it matches every execution.
//
// +kubebuilder:validation:XValidation:rule="self.action == 'Audit' || !has(self.arguments)",message="arguments can only be observed, since a process can change them after they are checked: set action to Audit, or remove arguments (shape 63)"
type ExecutableRule struct {
	RuntimeRule `json:",inline"`
	PathMatch   `json:",inline"`

	// origins narrows the rule to files of these origins. Absent, the origin
	// does not matter.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Origins []Origin `json:"origins,omitempty"`

	// arguments narrows a rule with action Audit to executions with any of
	// these arguments, the name of the program itself (argument 0) not counted.
	// They are compared by the agent after the fact and never by the kernel:
	// a process can change its arguments after any check, so nothing may rest
	// on them. Only arguments that lie within the first 4,095 bytes of a
	// command line are compared.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Arguments []Argument `json:"arguments,omitempty"`
}

// Argument matches one whole argument of a command. One "**" in it stands for
// any text.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:XValidation:rule="!self.matches('[*][*].*[*][*]')",message="an argument has at most one **: split it into two entries, or keep the part that tells (shape 64)"
type Argument string

// ExecutableException allows executions for a time.
//
// +kubebuilder:validation:XValidation:rule="has(self.paths) || has(self.directories) || has(self.globs) || has(self.origins) || has(self.from)",message="the exception matches every execution: narrow it with paths, directories, globs, origins or from, or remove the rules instead (shape 65)"
type ExecutableException struct {
	RuntimeException `json:",inline"`
	PathMatch        `json:",inline"`

	// origins narrows the exception to files of these origins. Absent, the
	// origin does not matter.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Origins []Origin `json:"origins,omitempty"`
}

// Origin is where a file's content comes from, as the kernel can tell.
//
// +kubebuilder:validation:Enum=Image;Modified;Memory;Outside
type Origin string

const (
	// OriginImage is a file of the container's image that has not changed since
	// the container started. It needs an overlay as the container's root
	// file system; with another one, everything on it counts as Modified. So
	// does what is on an overlay that was mounted in a user namespace; who may
	// mount with the node's own privileges (CAP_SYS_ADMIN) can make files look
	// like those of an image, unless Mount is denied to it.
	OriginImage Origin = "Image"
	// OriginModified is a file that was created or changed in the container, or
	// that lies on a volume: a persistent volume, an emptyDir, a mounted
	// ConfigMap.
	OriginModified Origin = "Modified"
	// OriginMemory is a file that has no name on any file system: a memfd, a
	// file that was unlinked, shared memory.
	OriginMemory Origin = "Memory"
	// OriginOutside is a file on a mount that does not belong to the container's
	// own mount namespace: reached through a file descriptor that was leaked
	// into the container, or through /proc/self/exe of the container runtime.
	//
	// Such a file has no path in the container; paths, directories and globs are
	// held against the one that it has on its own mount, which whoever may mount
	// can choose. So an Accept rule or an exception matches it only if its origins
	// name Outside. What no rule decides is denied by the rule (unresolvable) where
	// anything in the section denies.
	OriginOutside Origin = "Outside"
)
