package bpf

import "unsafe"

// Format is the version of the lines' layout. An agent rebuilds sides of another one.
const Format = 1

// LineSize is the size of a line in bytes: one cache line.
const LineSize = 64

// HeaderLines is how many lines stand before the first table.
const HeaderLines = 3

// Line is the unit in which a side is read and written. Its views have the size
// and alignment of the C structures.
type Line [LineSize / 8]uint64

// The views of a line.
func (l *Line) Header() *Header     { return (*Header)(unsafe.Pointer(l)) }
func (l *Line) Edges() *Edges       { return (*Edges)(unsafe.Pointer(l)) }
func (l *Line) Bucket4() *Bucket4   { return (*Bucket4)(unsafe.Pointer(l)) }
func (l *Line) Bucket6() *Bucket6   { return (*Bucket6)(unsafe.Pointer(l)) }
func (l *Line) Slots() *Slots       { return (*Slots)(unsafe.Pointer(l)) }
func (l *Line) Cells() *Cells       { return (*Cells)(unsafe.Pointer(l)) }
func (l *Line) Record() *Record     { return (*Record)(unsafe.Pointer(l)) }
func (l *Line) Segments() *Segments { return (*Segments)(unsafe.Pointer(l)) }
func (l *Line) Seal() *Seal         { return (*Seal)(unsafe.Pointer(l)) }
func (l *Line) Rules() *Rules       { return (*Rules)(unsafe.Pointer(l)) }

// Bits of the value of an address or a range.
const (
	PeerLocal   uint32 = 1 << 31 // the number is a slot, else a class
	PeerKnown   uint32 = 1 << 30 // set in every value: zero is no entry
	PeerUnbound uint32 = 1 << 29 // of the node's pod ranges, and nobody has it
	PeerGroup   uint32 = 1 << 28 // multicast or broadcast
	PeerNumber  uint32 = 0xffffff
)

// Bits of a word of an answer.
const (
	WordDeny uint32 = 1 << 31
	WordLog  uint32 = 1 << 30
	WordRule uint32 = 0xffffff
)

// RuleSlot numbers a rule in the kernel.
type RuleSlot uint32

// The rule slots of what no snapshot holds.
const (
	RuleNone      RuleSlot = iota // nothing was judged: no tables yet
	RuleBroken                    // the tables are damaged: denied
	RuleNobody                    // this end is no endpoint of this node
	RuleSelf                      // a pod reaches itself
	RuleOwnNode                   // a node reaches its pods
	RuleSpoofed                   // the sender's address is not the interface's
	RuleUnbound                   // an address of the pod ranges that nobody has
	RuleGroup                     // multicast while a pod is isolated
	RuleDiscovery                 // neighbour discovery, IGMP, MLD
	RuleMalformed                 // no header where one must be
	RuleFirst     RuleSlot = 32   // from here on: rules of the snapshot
)

// builtinNames are what people read; the parentheses keep them apart from names of rules.
var builtinNames = [...]string{
	"(none)", "(broken)", "(no-subject)", "(self)", "(own-node)", "(spoofed)",
	"(unbound-address)", "(group-address)", "(discovery)", "(malformed)", "(unknown-pod)",
}

// Builtin is the name of a rule that no snapshot holds, or "" for other slots.
func (s RuleSlot) Builtin() string {
	if int(s) < len(builtinNames) {
		return builtinNames[s]
	}
	return ""
}

// Bits of Header.Flags.
const (
	SideDenyUnboundEgress uint32 = 1 << iota
	SideDenyUnboundIngress
	SideDenyGroups
)

// SlotHasInterface is the bit of Slot.Owner that says that senders are checked.
const SlotHasInterface uint32 = 1 << 31

// Header is line 0.
type Header struct {
	Counter       uint64
	Epoch         uint32
	Term          uint32
	Address4Base  uint32
	Address4Mask  uint32
	Address6Base  uint32
	Address6Mask  uint32
	SlotBase      uint32
	CellBase      uint32
	Stride        uint32
	RecordBase    uint32
	SegmentBase   uint32
	Flags         uint32
	Seed          uint32
	InterfaceBase uint32
}

// Edges is line 1.
type Edges struct {
	Range4Base    uint32
	Range4Lines   uint32
	Range6Base    uint32
	Range6Lines   uint32
	InterfaceMask uint32
	RuleBase      uint32
	RuleLines     uint32
	Pad           uint32
	Reserved      [4]uint64
}

// Seal is line 2: what only agents read. Sum covers all other lines, from which
// an agent sees that a side is as it was left.
type Seal struct {
	Format   uint32
	Dirty    uint32
	Lines    uint32
	Pad      uint32
	Sum      uint64
	Digest   [32]byte
	Reserved uint64
}

// Rules is a line of the names of rule slots, so that a new agent gives rules the
// slots that its predecessor's counters have.
type Rules struct {
	ID [4][16]byte
}

// Entry4 is one of the eight entries of a Bucket4.
type Entry4 struct {
	Key   uint32
	Value uint32
}

// Bucket4 is a line of IPv4 addresses, interfaces, or starts of IPv4 ranges.
type Bucket4 struct {
	Entry [8]Entry4
}

// Key6 is an address in host byte order: IPv6, or IPv4 in Low.
type Key6 struct {
	High uint64
	Low  uint64
}

// Bucket6 is a line of IPv6 addresses or starts of IPv6 ranges.
type Bucket6 struct {
	Key   [3]Key6
	Value [3]uint32
	Pad   uint32
}

// Slot is an address of a local endpoint: its class as a peer, its rows as a
// subject, and the number of the endpoint.
type Slot struct {
	Class   uint32
	Ingress uint32
	Egress  uint32
	Owner   uint32
}

// Slots is a line of slots.
type Slots struct {
	Slot [4]Slot
}

// Cells is a line of a row: the records of 32 classes.
type Cells struct {
	Record [32]uint16
}

// Answer is a verdict with its rule in two worlds.
type Answer struct {
	Enforced uint32
	Staged   uint32
}

// Segment answers for ports Low to High: protocol<<16 | port.
type Segment struct {
	Low    uint32
	High   uint32
	Answer Answer
}

// Record answers for all ports: the segment that holds the port, else Answer. Up to
// three segments are in the record, more are Offset lines into the segments' table.
type Record struct {
	Answer   Answer
	Segments uint32
	Offset   uint32
	Segment  [3]Segment
}

// Segments is a line of segments.
type Segments struct {
	Segment [4]Segment
}

// Counter counts the packets of one rule on one processor.
type Counter struct {
	Packets uint64
	Bytes   uint64
}

// Limit bounds the events of a rule.
type Limit struct {
	Window uint64
	Sent   uint32
	Lost   uint32
}

// PairKey names who met whom by which rule. Bit 31 of Rule is set for egress.
type PairKey struct {
	Rule  uint32
	Slot  uint32
	Class uint32
}

// Pair counts new connections.
type Pair struct {
	Connections uint64
	Last        uint64 // nanoseconds of the monotonic clock
}

// Bits of Event.Flags.
const (
	EventReply uint8 = 1 << iota
	EventNew
	EventUntracked
)

// Event is what the ring buffer carries.
type Event struct {
	Time       uint64
	Counter    uint64
	Epoch      uint32
	Term       uint32
	Client     Key6
	Server     Key6
	Egress     Answer
	Ingress    Answer
	Interface  uint32
	Length     uint32
	ClientPort uint16
	ServerPort uint16
	Protocol   uint8
	Family     uint8
	Hook       uint8
	Flags      uint8
}

// Families of questions and events.
const (
	FamilyIPv4 uint8 = 2
	FamilyIPv6 uint8 = 10
)

// Bits of Question.Own: the end that is the node itself. PickedUp, which only test-run
// is asked, says that conntrack met the connection in the middle.
const (
	OwnClient uint8 = 1 << iota
	OwnServer
	PickedUp
)

// InterfaceCells is how many cells count what came in by interfaces: a power of two.
const InterfaceCells = 4096

// Question is what judge takes.
type Question struct {
	Client     Key6
	Server     Key6
	Port       uint32
	Family     uint8
	Own        uint8
	ClientPort uint16
}

// Outcome is what judge gives.
type Outcome struct {
	Egress  Answer
	Ingress Answer
	Counter uint64
	Epoch   uint32
	Term    uint32
	Client  uint32
	Server  uint32
}
