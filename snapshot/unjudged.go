package snapshot

// A node says in bits what of a section its kernel cannot judge, and a policy asks for
// bits. They are a section's operations as RuntimeRuleRow.Operations has them, and what
// follows: where judging an operation depends on more than its name.
const (
	// Of the section executables, which has no operations: what is executed, a script by
	// its own path, and a file that is mapped to be executed.
	AskProgram uint32 = 1 << iota
	AskScript
	AskMapping

	// AskFromScript: a rule is about what certain executables do, and these may be scripts.
	AskFromScript uint32 = 1 << 31
)

// Operations on sockets of SCTP and of ICMP stand beside those on all others.
const (
	shiftSCTP = 8
	shiftICMP = 16
)

// OverSCTP are operations of the section network on sockets of SCTP.
func OverSCTP(operations uint32) uint32 { return operations << shiftSCTP }

// OverICMP are operations of the section network on sockets of ICMP and ICMPv6.
func OverICMP(operations uint32) uint32 { return operations << shiftICMP }

// SocketsAsked takes bits of the section network apart.
func SocketsAsked(bits uint32) (others, sctp, icmp uint32) {
	const one = 1<<shiftSCTP - 1
	return bits & one, bits >> shiftSCTP & one, bits >> shiftICMP & one
}
