package snapshot

import "net/netip"

// The tables of runtime rules. They came after the others and are part of format
// 1 all the same: a set without runtime rules has the bytes that it always had,
// and an agent that does not know the tables refuses a set that holds them (see
// Entry.NeedsRuntime and README.md, "Versions").
const (
	TableRuntimeRule    Table = iota + 11 // RuntimeRuleRow
	TableRuntimeRuleset                   // RuntimeRulesetRow
	TableRuntimeSubject                   // RuntimeSubjectRow
	TableRuntimePod                       // RuntimePodRow
)

// The bounds of runtime rules. What goes beyond them is refused when compiled,
// by name, and never cut.
const (
	MaxRuntimeRulesPerRuleset = 16384 // rules of one ruleset
	MaxRuntimeFrom            = 64    // different executables in From of one ruleset's rules
	MaxRuntimeNetworkRules    = 64    // rules of one ruleset's network section
	MaxRuntimePath            = 4096  // bytes of a path, or of a glob's prefix and suffix together
	MaxRuntimeClauses         = 64    // rules of one ruleset and section about the very same object text, or about any object
	MaxRuntimeGlobLengths     = 32    // different lengths of globs' prefixes of one ruleset, and of suffixes
)

// RuntimeNodeUID is the UID of the RuntimePodRow that stands for the node itself:
// for every process that is in no pod.
const RuntimeNodeUID = "(node)"

// RuntimePauseContainer is the name by which rules are about the sandbox of a
// pod, which rules without containers' names are not about.
const RuntimePauseContainer = "pause"

// The sections of runtime rules, in RuntimeRuleRow.Section.
const (
	SectionExecutables uint8 = iota
	SectionFiles
	SectionPrivileges
	SectionNetwork
)

// The actions of runtime rules, in RuntimeRuleRow.Action.
const (
	RuntimeAccept uint8 = iota
	RuntimeDeny
	RuntimeKill // denies, and kills the process
)

// The origins of an object, as bits in RuntimeRuleRow.Origins.
const (
	OriginImage    uint8 = 1 << iota // as the image has it
	OriginModified                   // on something that the container can write: changed since, or never of the image
	OriginMemory                     // memfd, unlinked, anonymous
	OriginOutside                    // of no mount of the container
)

// Who may be the process that acts, in RuntimeRuleRow.Owner.
const (
	OwnerAny  uint8 = iota
	OwnerOnly       // only a process whose file system UID owns the object
	OwnerNot        // only one that does not own it
)

// RuntimeRuleRow is one rule of a section of a RuntimePolicy, or the isolation
// by which a section denies what nothing accepts. The RuleRow of the same ID
// names it. It matches an operation if every field that is not zero does.
//
// Lists of text, globs, blocks and ports are sorted and have no repetitions.
type RuntimeRuleRow struct {
	ID               RuleID
	Section          uint8 // SectionExecutables …
	Action           uint8 // RuntimeAccept …
	Enforced, Staged bool  // the worlds in which it takes part, one at least
	// Isolation: it stands for a section's default Deny. It is a Deny without any
	// condition; of a mapping of the section executables it decides only if the
	// object's origin is not OriginImage.
	Isolation bool

	Operations   uint32 // bits of the section; 0: all
	Origins      uint8  // bits; 0: any
	Owner        uint8  // OwnerAny …
	Capabilities uint64 // bits by number of the capability; 0: any

	// What the operation is about: one of Paths, something in one of Directories
	// or that directory itself, or a path that begins with a glob's prefix and ends
	// with its suffix, without overlap. All three empty: any object.
	Paths       []string
	Directories []string
	Globs       []RuntimeGlob

	// Who acts: a process that executes one of From or, with FromDescendants, has
	// an ancestor inside the container that executed one. Empty: anybody.
	From            []string
	FromDescendants bool

	// Whom a network operation is about: one of Blocks, one of Ports, one of Peers;
	// empty: any.
	Blocks []RuntimeBlock
	Ports  []RuntimePort
	// Peers is zero, or an egress RulesetRow whose answers Deny mean "is one of the
	// rule's peers".
	Peers RulesetID

	// Arguments are texts of which one must be in the command line. Only for rules
	// that are staged alone: the agent compares them with events, the kernel never.
	Arguments []string
	RateLimit uint32 // events a second; 0: the agent's default
}

// RuntimeGlob matches a path of at least the length of both that begins with
// Prefix and ends with Suffix.
type RuntimeGlob struct {
	Prefix string
	Suffix string
}

// RuntimeBlock is a CIDR less some of its parts.
type RuntimeBlock struct {
	CIDR   netip.Prefix
	Except []netip.Prefix
}

// RuntimePort is a range of ports, both ends included, of one protocol or, with
// Proto 0, of all.
type RuntimePort struct {
	Proto  uint8
	Lo, Hi uint16
}

// RuntimeRulesetRow lists what is judged for some container: all sections' rules
// in one order of judgement. The first that is of the operation's section and of
// the world asked for, and that matches, decides; if none does, the operation is
// allowed by the built-in default.
type RuntimeRulesetRow struct {
	ID    RulesetID
	Rules []RuleID
}

// RuntimeSubjectRow says which ruleset a container of a pod of some kind has.
// Container "" is every container that has no row of its own but the sandbox,
// which is called RuntimePauseContainer. Where there is no row there are no
// runtime rules.
type RuntimeSubjectRow struct {
	Kind      KindID
	Container string
	Ruleset   RulesetID
}

// RuntimePodRow tells the kind of a pod that has no LocalRow by this UID: one with
// host networking, a static pod by the hash that its cgroup is named after, or
// the node itself, as RuntimeNodeUID.
type RuntimePodRow struct {
	UID       string
	Kind      KindID
	Namespace string // empty for the node
	Name      string
}

func (RuntimeRuleRow) Table() Table    { return TableRuntimeRule }
func (RuntimeRulesetRow) Table() Table { return TableRuntimeRuleset }
func (RuntimeSubjectRow) Table() Table { return TableRuntimeSubject }
func (RuntimePodRow) Table() Table     { return TableRuntimePod }

// NeedsRuntime reports whether only an agent with the stream's capability
// "runtime" can read the entry. An agent without it gets the set without these.
func (e Entry) NeedsRuntime() bool {
	if e.Table == TableRule {
		return len(e.Value) > 1 && e.Value[1] == runtimePolicyKind
	}
	return e.Table >= TableRuntimeRule && e.Table <= TableRuntimePod
}
