package bpf

import (
	_ "embed"
	"unsafe"
)

// Names of maps and variables of the programs that meet runtime operations.
const (
	MapContainers    = "containers"
	MapUnbound       = "unbound"
	MapUnplaced      = "unplaced"
	MapProcesses     = "processes"
	MapScripts       = "scripts"
	MapAgent         = "agent"
	MapSettings      = "settings"
	MapRuntimeEvents = "runtime_events"
	MapScratches     = "scratches"

	VariableHierarchyID         = "hierarchy_id"
	VariableHierarchyController = "hierarchy_controller"
	VariableBackends            = "backends"
)

//go:embed runtime/hooks.o
var hooks []byte

// Hooks are the programs that meet runtime operations. What stays attached is smaller:
// package runtime makes a dispatcher for each hook.
var Hooks = Object{"hooks", hooks}

// HookPrefix is what the programs' names in Hooks begin with; the hook's name follows.
const HookPrefix = "palisade_"

// Backends of a section, as the kernel's programs and events number them.
const (
	BackendNone uint8 = iota
	BackendLSM
	BackendFmodRet
	BackendCgroup
	BackendSignal
)

// HierarchyUnified stands for the hierarchy of cgroup version 2.
const HierarchyUnified uint32 = 0xffffffff

// Names of containers that are none.
const (
	ContainerPending uint64 = iota // it will be known
	ContainerSandbox
	ContainerPod // the pod's own cgroup
)

// BoundNamed is the bit of Bound.Flags by which the agent says that it named it.
const BoundNamed uint32 = 1

// Bound says which container a cgroup is. The map's key is the cgroup's number.
type Bound struct {
	Container RuntimeContainer
	Root      uint64
	Children  uint32
	Flags     uint32
}

// Process is what the kernel remembers of a process in a container.
type Process struct {
	Chain RuntimeChainOf
	Host  uint64
	Flags uint32
	Pad   uint32
}

// ProcessSetup is the bit of Process.Flags of the container runtime's own processes.
const ProcessSetup uint32 = 1

// Bits of the one word of MapSettings, besides one for each section, of which
// everything is recorded that is judged.
const (
	RecordExec  uint64 = 16
	RecordExit  uint64 = 32
	DenyUnknown uint64 = 64
)

// Kinds of RuntimeEvent.
const (
	RuntimeEventJudged uint8 = iota + 1
	RuntimeEventExit
	RuntimeEventCgroup
	RuntimeEventExec // the path is the arguments, the target a RuntimeChainOf
)

// RuntimeEvent is what the ring buffer of runtime operations carries; then comes
// RuntimePathHeader, the bytes of the path and those of the target.
type RuntimeEvent struct {
	Time             uint64
	Counter          uint64
	Epoch            uint32
	Term             uint32
	Answer           RuntimeAnswer
	Query            RuntimeQuery
	Container        RuntimeContainer
	Cgroup           uint64
	Started          uint64
	Effective        uint64
	PID              uint32
	UID              uint32
	GID              uint32
	ExitCode         uint32
	MountNamespace   uint32
	ProcessNamespace uint32
	NetworkNamespace uint32
	UserNamespace    uint32
	Kind             uint8
	Backend          uint8
	Pad              [2]uint8
	PathLength       uint32
	TargetLength     uint32
	Arguments        uint32 // of RuntimeEventExec: how many bytes there are of them
	Ancestors        [8]RuntimeAncestor
}

// RuntimePathHeader is how many bytes stand between the event and its path.
const RuntimePathHeader = int(unsafe.Offsetof(RuntimePath{}.Bytes))

// RuntimeAncestor is a process above the one of an event.
type RuntimeAncestor struct {
	Started uint64
	PID     uint32
	Pad     uint32
}

// RuleUnknownPod is the slot of the rule by which pods that no snapshot knows execute
// nothing.
const RuleUnknownPod RuleSlot = 10
