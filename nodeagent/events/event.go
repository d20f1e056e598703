// Package events is what an agent reports about processes: what they executed,
// which files, privileges and connections they asked for, what was decided, and by
// which rule. A record shares its common fields with package flows; both stand as
// JSON lines in one stream. docs/records.md lists all fields.
package events

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"palisade.dev/palisade/nodeagent/flows"
)

// Event is one record.
type Event struct {
	Time    time.Time     `json:"time"`
	Type    Type          `json:"type"`
	Verdict flows.Verdict `json:"verdict"` // Allow, Deny or Kill
	// What decided, without its verdict.
	flows.Decision
	Staged     *flows.Judged `json:"staged,omitempty"` // where Audit would have decided otherwise
	Backend    Backend       `json:"backend,omitempty"`
	Node       string        `json:"node,omitempty"`
	Generation string        `json:"generation,omitempty"`
	Pod        *Pod          `json:"pod,omitempty"` // none: a process of the node itself
	Container  *Container    `json:"container,omitempty"`
	Process    Process       `json:"process"`
	Ancestors  []Ancestor    `json:"ancestors,omitempty"` // the parent first

	// Exactly one of them, by Type; none for exit.
	Exec      *Exec      `json:"exec,omitempty"`
	File      *File      `json:"file,omitempty"`
	Privilege *Privilege `json:"privilege,omitempty"`
	Network   *Network   `json:"network,omitempty"`
}

// Type is what a record is about. Records of package flows have flows.TypeFlow, or none.
type Type string

// The types.
const (
	TypeExec      Type = "exec"
	TypeExit      Type = "exit"
	TypeFile      Type = "file"
	TypePrivilege Type = "privilege"
	TypeNetwork   Type = "network"
)

// Kill is the third verdict: the operation did not happen and its process ended, or
// (backend signal) the process ended right after it.
const Kill flows.Verdict = "Kill"

// Backend is how the kernel was made to decide.
type Backend string

// The backends, strongest first. The first three prevent; Signal kills after the
// fact; None only watches.
const (
	LSM       Backend = "lsm"
	FmodRet   Backend = "fmod_ret"
	Cgroup    Backend = "cgroup"
	Signal    Backend = "signal"
	NoBackend Backend = "none"
)

// Prevents reports whether a denied operation does not happen at all.
func (b Backend) Prevents() bool { return b == LSM || b == FmodRet || b == Cgroup }

// Pod is whose process it is.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// Container is where in the pod it runs. The name is empty until it is known.
type Container struct {
	Name  string `json:"name,omitempty"`
	ID    string `json:"id,omitempty"`
	Image string `json:"image,omitempty"`
}

// Process is who asked.
type Process struct {
	PID          uint32            `json:"pid"` // in the node's namespace
	Executable   string            `json:"executable,omitempty"`
	Arguments    []string          `json:"arguments,omitempty"`    // what Executable was executed with, after redaction
	Truncated    bool              `json:"truncated,omitempty"`    // there were more arguments
	UID          uint32            `json:"uid"`                    // in the node's user namespace
	GID          uint32            `json:"gid"`                    //
	Capabilities []string          `json:"capabilities,omitempty"` // effective
	Namespaces   map[string]uint32 `json:"namespaces,omitempty"`   // inode numbers by kind: mnt, pid, net, user
	Started      time.Time         `json:"started,omitzero"`
	ExitCode     *int              `json:"exitCode,omitempty"` // of an exit; 128 and the signal where one ended it
}

// Ancestor is one step towards the container's first process.
type Ancestor struct {
	PID        uint32 `json:"pid"`
	Executable string `json:"executable,omitempty"`
}

// Origin is where an executable or a file comes from.
type Origin string

// The origins.
const (
	OriginImage    Origin = "Image"
	OriginModified Origin = "Modified"
	OriginMemory   Origin = "Memory"
	OriginOutside  Origin = "Outside"
)

// Exec is a program that was, or was to be, executed.
type Exec struct {
	Path          string `json:"path"`
	Unresolvable  bool   `json:"unresolvable,omitempty"`  // there is no path: it is too long, or leads to no root
	InterpreterOf string `json:"interpreterOf,omitempty"` // the script that asked for it
	Origin        Origin `json:"origin,omitempty"`
	Mapping       bool   `json:"mapping,omitempty"` // mapped as code into a process that runs already
	// What it was executed with, after redaction, its own name first: of what was
	// executed, and by Signal also of what was denied. Of a script, what its interpreter got.
	Arguments []string `json:"arguments,omitempty"`
	Truncated bool     `json:"truncated,omitempty"` // there were more arguments
}

// File is a file and what was asked of it.
type File struct {
	Path       string   `json:"path"`
	Target     string   `json:"target,omitempty"` // the other end of a rename or link
	Operations []string `json:"operations"`
	Origin     Origin   `json:"origin,omitempty"`
	// What rules compare besides, of Path.
	Unresolvable bool `json:"unresolvable,omitempty"` // there is no path: it is too long, or leads to no root
	Owned        bool `json:"owned,omitempty"`        // the process owns it, by the user id that file systems look at
	Directory    bool `json:"directory,omitempty"`
}

// Privilege is a privilege that was asked for. One system call may ask for several:
// setns for Capability,JoinNamespace.
type Privilege struct {
	Operation  string `json:"operation"` // several with commas between
	Capability string `json:"capability,omitempty"`
}

// Operations are the operations one by one.
func (p Privilege) Operations() []string { return strings.Split(p.Operation, ",") }

// Network is a socket operation. One system call may ask for several: fast open for
// Connect,Send.
type Network struct {
	Operation string     `json:"operation"` // several with commas between
	Protocol  string     `json:"protocol"`
	Address   netip.Addr `json:"address,omitzero"`
	Port      uint16     `json:"port,omitempty"`
	Peer      string     `json:"peer,omitempty"` // NAMESPACE/NAME, where the address is an endpoint's
	// Unresolvable: the kernel could not tell address and port (of a socket of SMC that binds
	// or listens).
	Unresolvable bool `json:"unresolvable,omitempty"`
}

// Operations are the operations one by one.
func (n Network) Operations() []string { return strings.Split(n.Operation, ",") }

// String is NAMESPACE/NAME, and the container's name where it is known.
func (e Event) String() string {
	if e.Pod == nil {
		return "node"
	}
	s := e.Pod.Namespace + "/" + e.Pod.Name
	if e.Container != nil && e.Container.Name != "" {
		s += "/" + e.Container.Name
	}
	return s
}

// nameless stands for what has no path, as in the rule that judges it.
const nameless = "(unresolvable)"

// Object is what was asked for, in a few words.
func (e Event) Object() string {
	switch {
	case e.Exec != nil:
		return cmp.Or(e.Exec.Path, nameless)
	case e.File != nil:
		path := cmp.Or(e.File.Path, nameless)
		if e.File.Target != "" {
			return path + " -> " + e.File.Target
		}
		return path
	case e.Privilege != nil:
		if e.Privilege.Capability != "" {
			return e.Privilege.Operation + " " + e.Privilege.Capability
		}
		return e.Privilege.Operation
	case e.Network != nil && !e.Network.Address.IsValid():
		return e.Network.Protocol
	case e.Network != nil:
		return e.Network.Protocol + " " + netip.AddrPortFrom(e.Network.Address, e.Network.Port).String()
	}
	return e.Process.Executable
}

// Operation is what was asked, in one word.
func (e Event) Operation() string {
	switch {
	case e.Exec != nil && e.Exec.Mapping:
		return "map"
	case e.File != nil && len(e.File.Operations) > 0:
		out := e.File.Operations[0]
		for _, o := range e.File.Operations[1:] {
			out += "," + o
		}
		return out
	case e.Network != nil:
		return e.Network.Operation
	}
	return string(e.Type)
}
