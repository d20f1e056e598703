package v1alpha1

// FileSection says what may be done to files and directories.
//
// Reading and writing are judged when a file is opened, and again when a file
// that was opened or mapped before the policy came is read, written or mapped;
// bytes that a process has already mapped stay readable to it. What the kernel
// itself does for a process, such as loading an executable, is judged by
// executables and not here. Looking at a file's metadata, listing a directory
// that is already open, and reading a link are not operations of this section.
//
// +kubebuilder:validation:XValidation:rule="self.default == 'Deny' || (has(self.rules) && size(self.rules) > 0) || (has(self.exceptions) && size(self.exceptions) > 0)",message="the section files does nothing: add a rule or an exception, set default to Deny, or remove the section (shape 11)"
// +kubebuilder:validation:XValidation:rule="!has(self.rules) || !has(self.exceptions) || self.exceptions.all(e, !self.rules.exists(r, r.name == e.name))",message="a rule and an exception of files have the same name: rename one, so that an event can name which decided (shape 12)"
type FileSection struct {
	// default says what happens to what no rule of any policy of the tier
	// matches: Accept leaves it to the next tier, Deny isolates the section, so
	// that only what a rule accepts may be done. Deny is refused in the Admin
	// tier. An allow-list needs what every program needs: the libraries with
	// Read and MapExecutable, /dev/null, /proc.
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
	Rules []FileRule `json:"rules,omitempty"`

	// exceptions lists what is allowed for a time.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Exceptions []FileException `json:"exceptions,omitempty"`
}

// FileRule matches what is done to files, by operation and path. Whatever its
// operations, a Deny or Kill rule also stops the rename of a directory that it
// names, or of one above a path, directory or glob's beginning that it names,
// since that would move what the rule protects. A file itself is moved by Rename
// and Link: a Deny of Read alone is passed by renaming or linking the file and
// reading it by its new name, one of Write alone by moving it out, changing it
// and moving it back. Deny Rename and Link with Read, and Create and Delete too
// with Write, or leave operations absent; and deny the privileges Mount and
// PivotRoot, which show a file elsewhere (see PathMatch).
//
// +kubebuilder:validation:XValidation:rule="!has(self.readOnly) || !self.readOnly || !has(self.operations)",message="readOnly already says which operations: remove operations, or readOnly (shape 66)"
// +kubebuilder:validation:XValidation:rule="!has(self.ownerOnly) || !self.ownerOnly || !has(self.operations) || self.operations.exists(o, o != 'Create')",message="ownerOnly means nothing with Create alone, since whoever creates a file owns it: add operations, or remove ownerOnly (shape 67)"
type FileRule struct {
	RuntimeRule `json:",inline"`

	// operations lists the operations that the rule matches. Absent, it matches
	// all of them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Operations []FileOperation `json:"operations,omitempty"`

	PathMatch `json:",inline"`

	// origins narrows the rule to files of these origins; Outside is what a
	// rule against leaked file descriptors wants. Absent, the origin does not
	// matter.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Origins []Origin `json:"origins,omitempty"`

	// ownerOnly leaves files to their owner. An Accept rule then matches only
	// processes whose file-system user id is the file's owner; a Deny, Kill or
	// Audit rule matches only processes whose is not. The capabilities that let
	// a process act for others (CAP_FOWNER, CAP_DAC_OVERRIDE) do not make it
	// the owner.
	//
	// +optional
	OwnerOnly bool `json:"ownerOnly,omitempty"`

	// readOnly leaves files to readers. An Accept rule then matches Read alone;
	// a Deny, Kill or Audit rule matches every operation but Read. It takes the
	// place of operations.
	//
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`
}

// FileException allows operations on files for a time.
//
// +kubebuilder:validation:XValidation:rule="has(self.paths) || has(self.directories) || has(self.globs) || has(self.origins) || has(self.from)",message="the exception matches every file: narrow it with paths, directories, globs, origins or from, or remove the rules instead (shape 65)"
type FileException struct {
	RuntimeException `json:",inline"`

	// operations lists the operations that the exception allows. Absent, it
	// allows all of them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Operations []FileOperation `json:"operations,omitempty"`

	PathMatch `json:",inline"`

	// origins narrows the exception to files of these origins. Absent, the
	// origin does not matter.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Origins []Origin `json:"origins,omitempty"`
}

// FileOperation is something that a process does to a file or directory.
//
// +kubebuilder:validation:Enum=Read;Write;Create;Delete;Rename;Link;Attributes;MapExecutable
type FileOperation string

const (
	// FileRead is opening for reading, reading, and mapping for reading.
	FileRead FileOperation = "Read"
	// FileWrite is opening for writing, writing, truncating, and mapping shared
	// and writable.
	FileWrite FileOperation = "Write"
	// FileCreate is making a file, directory, symbolic link, device node, socket
	// or named pipe, and taking the new name of a rename or a hard link.
	FileCreate FileOperation = "Create"
	// FileDelete is unlinking a file and removing a directory.
	FileDelete FileOperation = "Delete"
	// FileRename is giving up the old name in a rename; the new one is Create.
	FileRename FileOperation = "Rename"
	// FileLink is having a hard link made; the new name is Create.
	FileLink FileOperation = "Link"
	// FileAttributes is changing mode, owner, times or extended attributes.
	FileAttributes FileOperation = "Attributes"
	// FileMapExecutable is mapping a file as executable, as a loader does with
	// libraries. Executing it is of the section executables, which also judges
	// such a mapping.
	FileMapExecutable FileOperation = "MapExecutable"
)
