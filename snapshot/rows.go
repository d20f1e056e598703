package snapshot

import "net/netip"

// Numbers in a snapshot are derived by hash from what they stand for, so that
// equal state gives equal numbers on every replica. 128 bits of SHA-256 make a
// collision as unlikely as a forged one (docs/adr: identity numbers); they mean
// nothing to the kernel, for which the agent gives out dense local slots.
type (
	// KindID numbers endpoints that no policy in force can tell apart but by
	// address: the endpoint half of an identity.
	KindID [16]byte
	// GroupID numbers a set of peers that some rule names: a selector, a block,
	// an address group, an entity, a named port as resolved.
	GroupID [16]byte
	// RulesetID numbers what is judged for one subject kind in one direction.
	RulesetID [16]byte
	// SetID numbers a sorted set of groups; see SetOf.
	SetID [16]byte
	// ProgramID numbers a port program by its content.
	ProgramID [16]byte
	// RuleID numbers a rule of a policy, or an implicit rule.
	RuleID [16]byte
)

// WorldKind is the kind of every address that is no endpoint.
var WorldKind = KindID{}

// Table numbers the tables of a snapshot. The order is the order in which an
// agent needs rows; it is part of the format.
type Table uint8

// The tables.
const (
	TableMeta    Table = iota + 1 // MetaRow: one row
	TableRule                     // RuleRow
	TableProgram                  // ProgramRow
	TableRuleset                  // RulesetRow
	TableCell                     // CellRow
	TableKind                     // KindRow
	TablePart                     // PartRow
	TableSubject                  // SubjectRow
	TableLocal                    // LocalRow
	TableAddress                  // AddressRow: shared by all nodes
)

// Row is a row of a table: a key, by which it is unique in its table, and a value.
type Row interface {
	Table() Table
	appendKey(b []byte) []byte
	appendValue(b []byte) []byte
}

// MetaRow says whose snapshot this is.
type MetaRow struct {
	Node      string
	PodRanges []netip.Prefix // the node's pod ranges, sorted; may be empty
}

// MaxRulesPerNode is how many RuleRows the set of one node can hold, the built-in ones
// included. An agent has room for twice as many: whatever was in force keeps its
// counters until nothing refers to them, also while every rule is replaced by another.
const MaxRulesPerNode = 1<<15 - 16

// RuleRow tells what a RuleID stands for, for events and counters.
type RuleRow struct {
	ID         RuleID
	Tier       uint8 // as model.Tier
	PolicyKind uint8 // as model.PolicyKind
	Namespace  string
	Policy     string
	Rule       string
	Severity   string
	Message    string
	Tags       []string
}

// Answer is a verdict with its rule, enforced and staged. Staged equals
// enforced where no Audit policy changes anything.
type Answer struct {
	Rule       RuleID
	StagedRule RuleID
	Deny       bool
	Log        bool
	StagedDeny bool
	StagedLog  bool
}

// Segment answers for one protocol and the ports Lo to Hi inclusive (for ICMP
// and ICMPv6, type<<8|code).
type Segment struct {
	Proto  uint8
	Lo, Hi uint16
	Answer Answer
}

// ProgramRow answers for every protocol and port: the segment that holds them,
// else Default. Segments are sorted by protocol and port, disjoint, merged with
// equal neighbours, and none equals Default.
type ProgramRow struct {
	ID       ProgramID
	Default  Answer
	Segments []Segment
}

// RulesetRow lists the groups that a ruleset tells apart, sorted.
type RulesetRow struct {
	ID     RulesetID
	Egress bool
	Groups []GroupID
}

// CellRow says which program answers in a ruleset for the peers whose groups,
// as far as the ruleset tells them apart, are exactly Set. There is a row for
// every set that a peer can have, the empty one included.
type CellRow struct {
	Ruleset RulesetID
	Set     SetID
	Program ProgramID
}

// KindRow lists the groups that all endpoints of a kind belong to, whatever
// their addresses, as far as this node's rulesets tell them apart; sorted. A
// kind in no such group has no row.
type KindRow struct {
	ID     KindID
	Groups []GroupID
}

// PartRow lists the groups of the addresses whose longest matching prefix among
// the part rows is Prefix; sorted, complete (not added to those of shorter
// prefixes). Addresses that no part row covers are in no such group.
//
// The groups of a peer are those of its kind together with those of its part.
type PartRow struct {
	Prefix netip.Prefix
	Groups []GroupID
}

// SubjectRow says which rulesets protect the endpoints of a kind that this node
// hosts. Both are always set: where no policy is about the kind, the ruleset
// tells no groups apart and its one cell answers by the built-in default.
type SubjectRow struct {
	Kind    KindID
	Ingress RulesetID
	Egress  RulesetID
}

// LocalRow is an endpoint that this node hosts, with or without an address yet.
type LocalRow struct {
	UID       string
	Kind      KindID
	Namespace string
	Name      string
}

// AddressRow says who has an address. It is the same for all nodes.
type AddressRow struct {
	Addr      netip.Addr
	Kind      KindID
	Endpoint  uint8  // as model.EndpointKind
	UID       string // pods only
	Namespace string
	Name      string
}

func (MetaRow) Table() Table    { return TableMeta }
func (RuleRow) Table() Table    { return TableRule }
func (ProgramRow) Table() Table { return TableProgram }
func (RulesetRow) Table() Table { return TableRuleset }
func (CellRow) Table() Table    { return TableCell }
func (KindRow) Table() Table    { return TableKind }
func (PartRow) Table() Table    { return TablePart }
func (SubjectRow) Table() Table { return TableSubject }
func (LocalRow) Table() Table   { return TableLocal }
func (AddressRow) Table() Table { return TableAddress }
