package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RuntimeRules are the sections of a runtime policy. Each section is judged by
// itself, and a section that is absent says nothing.
//
// What all policies together may have for one container is bounded; an exception,
// and the default Deny of a section, count as one rule each. There are at most
// 16,360 rules; 58 of the section network; 58 of one section about the same path,
// directory or glob; 58 of one section without any of these, as all of
// privileges are, and those of executables and files that are narrowed by
// origins or from alone; 64 distinct paths in from; and 32 different lengths of
// what stands before the "**" of globs, and 32 of what stands after it. A policy
// beyond that is refused with the reason OverCapacity, which names the bound, and
// the rules in force stay.
//
// +kubebuilder:validation:XValidation:rule="has(self.executables) || has(self.files) || has(self.privileges) || has(self.network)",message="the runtime policy does nothing: add one of the sections executables, files, privileges and network (shape 11)"
type RuntimeRules struct {
	// executables is about what may be executed.
	//
	// +optional
	Executables *ExecutableSection `json:"executables,omitempty"`

	// files is about what may be done to files and directories.
	//
	// +optional
	Files *FileSection `json:"files,omitempty"`

	// privileges is about capabilities and what they, or namespaces, open.
	//
	// +optional
	Privileges *PrivilegeSection `json:"privileges,omitempty"`

	// network is about sockets, by the process that uses them.
	//
	// +optional
	Network *SocketSection `json:"network,omitempty"`
}

// ClusterwideRuntime is the runtime part of a ClusterwidePolicy.
type ClusterwideRuntime struct {
	// minimumBackend is what a node must be able to do for the policy. A node
	// that cannot is counted as failed, by name and with the reason
	// BackendCannotPrevent, and does what it can all the same.
	//
	// +optional
	// +kubebuilder:default=Any
	MinimumBackend MinimumBackend `json:"minimumBackend,omitempty"`

	RuntimeRules `json:",inline"`
}

// RuntimeRule is what the rules of all sections have in common.
type RuntimeRule struct {
	// name is unique in the section, among its rules and exceptions. Events
	// name the rule as SECTION/NAME.
	Name RuleName `json:"name"`

	// action is what happens to an operation that the rule matches, as far as
	// the order of judgement lets this rule decide. Audit never decides: the
	// event of the operation says that a Deny in its place would have.
	//
	// +kubebuilder:validation:Enum=Accept;Audit;Deny;Kill
	Action Action `json:"action"`

	// from narrows the rule to processes that execute one of these files, and,
	// unless includeDescendants is false, to processes that descend from one
	// that did so inside the container, over any number of forks and orphaned
	// parents. Absent, the rule is about every process.
	//
	// A process that executes a script executes the script and its interpreter:
	// either may be named here. Its own executable is the interpreter, so that
	// without descendants a script matches nothing. An interpreter that is told
	// to read a script (sh run.sh) does not execute it, and where executions are
	// answered by a signal (backend Signal) scripts are not known.
	//
	// A process keeps what it descends from for ever; there is no way to shed
	// it from inside. A process with more than 16 executables in its descent is
	// matched by every Deny and Kill rule with from, and by no Accept rule with
	// from. All rules that apply to one container may have at most 64 distinct
	// paths in from together, where one that is named with its descendants and
	// without them counts twice; a policy beyond that is refused with the reason
	// OverCapacity.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	From []Path `json:"from,omitempty"`

	// includeDescendants says whether from also means processes that descend
	// from one that executed the file; false means only processes whose own
	// executable it is now.
	//
	// +optional
	// +kubebuilder:default=true
	IncludeDescendants *bool `json:"includeDescendants,omitempty"`

	// severity is copied to events in place of the policy's, and never judged.
	//
	// +optional
	Severity Severity `json:"severity,omitempty"`

	// message is copied to events in place of the policy's, and never judged.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`

	// tags are copied to events beside the policy's, and never judged.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Tags []Tag `json:"tags,omitempty"`

	// rateLimit is how many events a second a node sends about this rule at
	// most. Absent, the agent's own limit holds. What is beyond it is counted,
	// and the count is sent; the verdict is the same.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	RateLimit int32 `json:"rateLimit,omitempty"`
}

// RuntimeException is what the exceptions of all sections have in common. Until
// it expires, what an exception matches is allowed ahead of every Kill and Deny
// rule and every isolation of its own tier, those of other policies included,
// as long as the subject of the exception's policy selects the container. It
// does not override an earlier tier, and like an Accept it leaves nothing to a
// later one. To except some pods only, write the exception into a policy of the
// same tier whose subject is those pods.
//
// In a policy in mode Audit an exception changes only what is staged.
type RuntimeException struct {
	// name is unique in the section, among its rules and exceptions. Events
	// name the exception as SECTION/NAME.
	Name RuleName `json:"name"`

	// reason tells people why the exception is made. It is copied to events as
	// their message.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason"`

	// expiresAt is when the exception stops being in force. The controller,
	// which has the clock, then lists it in status.expiredExceptions, and the
	// compiler, which has none, leaves it out; the object stays as it is. While
	// no controller runs, nothing expires.
	ExpiresAt metav1.Time `json:"expiresAt"`

	// from narrows the exception to processes that execute one of these files,
	// or descend from one that did so inside the container. Absent, the
	// exception is about every process.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	From []Path `json:"from,omitempty"`
}

// PathMatch matches files and directories by their path; its members unite.
// With all of them absent it matches every path.
//
// A path is what the kernel resolved, seen from the root of the mount namespace
// of the process: symbolic links, "..", /proc/self/root and a chroot inside the
// container are gone from it. So a rule must be written with the path to which
// links lead: where /bin is a link to /usr/bin and sh one to dash, the shell is
// /usr/bin/dash, and a rule for /bin/sh matches nothing. Hard links are paths of
// their own; making one is an operation on files (Link) that is judged at both
// ends.
//
// A path says where a file is, not which file it is. Whoever may give the file
// another path is past a rule about the old one: by renaming or linking it, which
// only a rule of files with Rename and Link stops; by copying it, where it may be
// read; and by mounting it elsewhere (a bind mount, an overlay, pivot_root),
// which everybody may do in a user namespace of one's own where the node allows
// those, and which only privileges with Mount and PivotRoot denied stop.
//
// A path that cannot be resolved, because it is longer than 4,095 bytes, is
// denied where any Deny, Kill or isolation applies to the section, and the
// verdict names the rule (unresolvable).
type PathMatch struct {
	// paths matches these files and directories and nothing below them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	Paths []Path `json:"paths,omitempty"`

	// directories matches these directories and everything below them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	Directories []Path `json:"directories,omitempty"`

	// globs matches paths by how they begin and end. The globs of all rules that
	// apply to one container may begin with texts of 32 different lengths, and
	// end with texts of 32; a policy beyond that is refused with the reason
	// OverCapacity.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=50
	Globs []Glob `json:"globs,omitempty"`
}

// Path is an absolute path without "//", "/./", "/../" and, but for the root
// itself, a slash at its end. It is compared byte by byte. It has no wildcards,
// so a "*" in it is refused as a mistake: a file with that in its name, or with
// one that is not UTF-8, cannot be named, only the directory that it is in. It
// has at most 4,095 bytes, as the kernel resolves no longer path: the schema
// counts characters, and the compiler refuses what has more bytes than that.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4095
// +kubebuilder:validation:Pattern=`^/?(([^/.*\x00]|\.[^/.*\x00]|\.\.[^/*\x00])[^/*\x00]*(/([^/.*\x00]|\.[^/.*\x00]|\.\.[^/*\x00])[^/*\x00]*)*/?)?$`
// +kubebuilder:validation:XValidation:rule="self.startsWith('/')",message="a relative path: begin with a slash, and write the path as it is seen from the root of the container, for example /usr/bin/dash (shape 47)"
// +kubebuilder:validation:XValidation:rule="self == '/' || !self.endsWith('/')",message="a path does not end with a slash: remove it; a directory with everything below it belongs under directories (shape 48)"
type Path string

// Glob is a path in which "**" stands, exactly once, for any text, also none
// and also one with slashes: /usr/lib/**.so is every path that begins with
// /usr/lib/ and ends with .so. Other wildcards, "*", "?" and "[", are refused:
// only a beginning and an end are matched exactly and at any length. Otherwise
// it is written like a path, and what is below a directory is better written
// with directories.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4096
// +kubebuilder:validation:Pattern=`^/?(([^/.*?\[\x00]|\.[^/.*?\[\x00]|\.\.[^/*?\[\x00])[^/*?\[\x00]*/)*[^/*?\[\x00]*\*\*[^/*?\[\x00]*(/([^/.*?\[\x00]|\.[^/.*?\[\x00]|\.\.[^/*?\[\x00])[^/*?\[\x00]*)*/?$`
// +kubebuilder:validation:XValidation:rule="self.startsWith('/')",message="a relative glob: begin with a slash; for a name in any directory write /**/NAME (shape 47)"
// +kubebuilder:validation:XValidation:rule="!self.endsWith('/')",message="a glob does not end with a slash: no path does; for everything below a directory use directories (shape 48)"
type Glob string
