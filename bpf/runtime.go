package bpf

import (
	_ "embed"
	"unsafe"
)

// Names of programs, maps and variables in the objects of runtime rules.
const (
	ProgramRuntimeBatch        = "palisade_runtime_batch"
	ProgramRuntimeBenchEmpty   = "palisade_runtime_bench_empty"
	ProgramRuntimeBenchDraw    = "palisade_runtime_bench_draw"
	ProgramRuntimeBenchSubject = "palisade_runtime_bench_subject"
	ProgramRuntimeBenchJudge   = "palisade_runtime_bench_judge"

	MapRuntimeQuestions = "rt_questions"
	MapRuntimeOutcomes  = "rt_outcomes"
	MapRuntimeSamples   = "rt_samples"
)

//go:embed runtime/trial.o
var runtimeTrial []byte

// RuntimeTrial judges operations by test-run and is never attached.
var RuntimeTrial = Object{"runtime trial", runtimeTrial}

// RuntimePathBytes is one more than the longest path that can be judged.
const RuntimePathBytes = 4096

// RuntimeChain is how many executables a chain holds.
const RuntimeChain = 16

// The views of a line of runtime rules.
func (l *Line) RuntimeHeader() *RuntimeHeader   { return (*RuntimeHeader)(unsafe.Pointer(l)) }
func (l *Line) RuntimeWords() *RuntimeWords     { return (*RuntimeWords)(unsafe.Pointer(l)) }
func (l *Line) RuntimeRuleset() *RuntimeRuleset { return (*RuntimeRuleset)(unsafe.Pointer(l)) }
func (l *Line) RuntimeLengths() *RuntimeLengths { return (*RuntimeLengths)(unsafe.Pointer(l)) }
func (l *Line) RuntimeKind() *RuntimeKind       { return (*RuntimeKind)(unsafe.Pointer(l)) }
func (l *Line) RuntimeList() *RuntimeList       { return (*RuntimeList)(unsafe.Pointer(l)) }
func (l *Line) RuntimeClause() *RuntimeClause   { return (*RuntimeClause)(unsafe.Pointer(l)) }
func (l *Line) RuntimePeerClause() *RuntimePeerClause {
	return (*RuntimePeerClause)(unsafe.Pointer(l))
}
func (l *Line) RuntimeBlocks() *RuntimeBlocks { return (*RuntimeBlocks)(unsafe.Pointer(l)) }
func (l *Line) RuntimeSlots() *RuntimeSlots   { return (*RuntimeSlots)(unsafe.Pointer(l)) }
func (l *Line) RuntimeRates() *RuntimeRates   { return (*RuntimeRates)(unsafe.Pointer(l)) }
func (l *Line) RuntimePorts() *RuntimePorts   { return (*RuntimePorts)(unsafe.Pointer(l)) }

// Flags of a word of an answer, in its bits 32 to 39. Above them stands the rank,
// below them the slot of the rule.
const (
	RuntimeDeny uint64 = 1 << iota
	RuntimeKill
	RuntimeLog
)

// RuntimeNothing is the word of a world in which a rule takes no part.
const RuntimeNothing = ^uint64(0)

// RuntimeRankDefault is the rank of the answer where no rule matches.
const RuntimeRankDefault = uint64(0xffffff)

// RuntimeWord makes a word of an answer.
func RuntimeWord(rank, flags uint64, slot RuleSlot) uint64 {
	return rank<<40 | flags<<32 | uint64(slot)
}

// RuntimeWordParts takes a word of an answer apart.
func RuntimeWordParts(word uint64) (rank, flags uint64, slot RuleSlot) {
	return word >> 40, word >> 32 & 0xff, RuleSlot(uint32(word))
}

// Bits of RuntimeQuery.Flags.
const (
	RuntimeMapping uint8 = 1 << iota
	RuntimeUnresolvable
	RuntimeDirectory
)

// RuntimeChainOverflow is a bit of RuntimeChainOf.Flags.
const RuntimeChainOverflow uint32 = 1

// Bits of what a hook must find out; the bits below are those of the sections.
const (
	RuntimeNeedsFrom uint32 = 16 << iota
	RuntimeNeedsOrigin
	RuntimeNeedsOwner
	RuntimeNeedsMoves
	RuntimeNeedsArguments
)

// Bits of RuntimeRuleset.Flags, to be shifted by the section.
const (
	RuntimeHasExact     uint32 = 1
	RuntimeHasPrefixes  uint32 = 4
	RuntimeHasSuffixes  uint32 = 16
	RuntimeDenies       uint32 = 256
	RuntimeDeniesStaged uint32 = 4096
)

// RuntimeKey is what a row's key is made of, besides its text.
type RuntimeKey uint32

// The kinds of keys.
const (
	RuntimeKeyNode RuntimeKey = iota
	RuntimeKeyExact
	RuntimeKeyDirectory
	RuntimeKeyPrefix
	RuntimeKeySuffix
	RuntimeKeyAncestor
	RuntimeKeyFrom
	RuntimeKeyPod
	RuntimeKeyContainer
)

// RuntimeHeader is the line that Edges.Reserved[0] names.
type RuntimeHeader struct {
	KeyBase          uint32
	FilterBase       uint32
	FilterMask       uint32
	RowBase          uint32
	RowMask          uint32
	RulesetBase      uint32
	SubjectBase      uint32
	HeapBase         uint32
	SlotDefault      uint32
	SlotUnresolvable uint32
	Rules            uint32
	RateBase         uint32
	Node             uint32 // the number of the node's own kind plus one; 0: it has no rules
	Pad              uint32
	Reserved         uint64
}

// How many lines keys take: for each 64 bytes of a text one for either lane, and one
// more for what a key is about.
const (
	RuntimeKeyBlocks = RuntimePathBytes / 64
	RuntimeKeyLines  = 2*RuntimeKeyBlocks + 1
)

// RuntimeWords is a line of keys, or of the filter.
type RuntimeWords struct {
	Word [8]uint64
}

// RuntimeRuleset is the first of a rule set's lines.
type RuntimeRuleset struct {
	Depths       [2]uint64
	Any          [4]uint32
	Needs        uint32
	Flags        uint32
	Network      uint32
	NetworkCount uint32
	Slots        uint32
	Pad          uint32
	Reserved     uint64
}

// RuntimeSlots is a line of the slots of simple rows.
type RuntimeSlots struct {
	Slot [16]uint32
}

// RuntimeRates is a line of the events a second of rules, by slot.
type RuntimeRates struct {
	Rate [16]uint32
}

// Bits of the value of a row that is one rule without conditions but operations,
// which are bits 0 to 7. Its rank less one stands from RuntimeSimpleRank on.
const (
	RuntimeRowSimple      uint32 = 1 << 31
	RuntimeSimpleEnforced uint32 = 1 << 14
	RuntimeSimpleStaged   uint32 = 1 << 13
	RuntimeSimpleAction          = 15
	RuntimeSimpleRank            = 17
)

// RuntimeRulesetLines is how many lines a rule set has: four of lengths after the first.
const RuntimeRulesetLines = 5

// RuntimeLengths are lengths of prefixes or suffixes, sorted, then zeros.
type RuntimeLengths struct {
	Length [32]uint16
}

// RuntimeKind says what pods of a kind have: numbers of rule sets plus one.
type RuntimeKind struct {
	Fallback   uint32
	Pause      uint32
	List       uint32
	Count      uint32
	Needs      uint32
	PauseNeeds uint32
	Containers uint32
	Pad        uint32
	Reserved   [4]uint64
}

// RuntimeRulesets is how many different rule sets one pod can have.
const RuntimeRulesets = 256

// RuntimeList is a line of numbers of rule sets.
type RuntimeList struct {
	Ruleset [16]uint32
}

// Bits of the value of a row about an executable that rules ask for.
const (
	RuntimeFromSelf  uint32 = 1 << 8
	RuntimeFromAbove uint32 = 1 << 24
)

// Bits of RuntimeClause.Flags.
const (
	RuntimeClauseIsolation uint8 = 1 << iota
	RuntimeClauseDenies
	RuntimeClausePrefix
	RuntimeClauseSuffix
)

// RuntimeAny is the bit that says that every origin will do.
const RuntimeAny uint8 = 0x80

// RuntimeClause is one rule's say about one object.
type RuntimeClause struct {
	Enforced     uint64
	Staged       uint64
	From         uint64
	Capabilities uint64
	Operations   uint32
	Origins      uint8
	Owner        uint8
	Flags        uint8
	Pad          uint8
	HalfLength   uint16
	GlobLength   uint16
	Count        uint32
	Half         Key6
}

// RuntimePeerClause is one rule's say about peers.
type RuntimePeerClause struct {
	Enforced     uint64
	Staged       uint64
	From         uint64
	Capabilities uint64
	Operations   uint32
	Origins      uint8
	Owner        uint8
	Flags        uint8
	Pad          uint8
	Blocks       uint32
	BlockCount   uint32
	Ports        uint32
	PortCount    uint32
	Peers        uint32
	Pad2         uint32
}

// RuntimeBlock is a block of addresses, or what the block before it leaves out.
type RuntimeBlock struct {
	Address Key6
	Bits    uint32
	Family  uint32
	Except  uint32
	Pad     uint32
}

// RuntimeBlocks is a line of blocks.
type RuntimeBlocks struct {
	Block [2]RuntimeBlock
}

// RuntimePort is a range of ports.
type RuntimePort struct {
	Low      uint16
	High     uint16
	Protocol uint32
}

// RuntimePorts is a line of ranges.
type RuntimePorts struct {
	Port [8]RuntimePort
}

// RuntimePath is a path as a hook resolved it.
type RuntimePath struct {
	Length  uint32
	Pad     uint32
	Scratch [8]uint32
	Bytes   [RuntimePathBytes + 64]byte
}

// RuntimeChainOf is who acts: the fingerprint of a process's executable, then of those
// above it.
type RuntimeChainOf struct {
	Count      uint32
	Flags      uint32
	Executable [RuntimeChain]uint64
}

// RuntimeContainer says which container a cgroup is.
type RuntimeContainer struct {
	UIDHigh uint64
	UIDLow  uint64
	Name    uint64
}

// Names of what is no container whose name is known.
const (
	RuntimeNamePending uint64 = iota
	RuntimeNameSandbox
	RuntimeNamePod
)

// RuntimeQuery is an operation.
type RuntimeQuery struct {
	Capabilities uint64
	Address      Key6
	Operations   uint32
	Port         uint16
	Protocol     uint8
	Family       uint8
	Section      uint8
	Origin       uint8
	Owner        uint8
	Flags        uint8
	Pad          uint32
}

// RuntimeAnswer is the words of both worlds.
type RuntimeAnswer struct {
	Enforced uint64
	Staged   uint64
}

// RuntimeQuestion is what the trial takes.
type RuntimeQuestion struct {
	Container RuntimeContainer
	Chain     RuntimeChainOf
	Query     RuntimeQuery
	Path      RuntimePath
}

// RuntimeOutcome is what the trial gives.
type RuntimeOutcome struct {
	Answer      RuntimeAnswer
	Counter     uint64
	Fingerprint uint64
	Needs       uint32
	Subject     int32
	Eval        [10]uint64 // the judge's own
}

// RuntimeSample is a path for benchmarks.
type RuntimeSample struct {
	Length    uint32
	Container uint32
	Bytes     [120]byte
}
