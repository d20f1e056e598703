package runtime

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/snapshot"
)

// BackendOf is the backend that the kernel numbers so.
func BackendOf(n uint8) events.Backend { return backendOf(n) }

// operationNames are the operations of each section by their bits, as the API names them.
var operationNames = [sections][]string{
	Executables: {},
	Files:       {"Read", "Write", "Create", "Delete", "Rename", "Link", "Attributes", "MapExecutable"},
	Privileges: {
		"Capability", "SetUser", "SetGroup", "UserNamespace", "JoinNamespace", "Ptrace", "Mount", "Chroot", "PivotRoot",
		"LoadModule", "LoadBPF", "WriteExecMemory", "IOUring", "RawSocket", "PacketSocket",
	},
	Network: {"Connect", "Bind", "Listen", "Send"},
}

// IsRule reports whether a rule's name is that of a runtime rule: its section comes first.
func IsRule(name string) bool {
	section, _, ok := strings.Cut(name, "/")
	return ok && slices.Contains(sectionNames[:], section)
}

// Operations names the bits of a section's operations.
func Operations(s Section, set uint32) []string {
	var out []string
	for set != 0 {
		bit := bits.TrailingZeros32(set)
		set &^= 1 << bit
		if names := operationNames[s]; bit < len(names) {
			out = append(out, names[bit])
		}
	}
	return out
}

// asked names what rules of a section may ask for, by its bits (see snapshot.AskProgram).
func asked(s Section, set uint32) []string {
	var out []string
	switch s {
	case Executables:
		for _, a := range []struct {
			bit  uint32
			name string
		}{{snapshot.AskProgram, "programs"}, {snapshot.AskScript, "scripts by their own path"}, {snapshot.AskMapping, "mappings"}} {
			if set&a.bit != 0 {
				out = append(out, a.name)
			}
		}
	case Network:
		others, sctp, icmp := snapshot.SocketsAsked(set)
		out = append(Operations(s, others), over("SCTP", sctp)...)
		out = append(out, over("ICMP", icmp)...)
	default:
		out = Operations(s, set&^snapshot.AskFromScript)
	}
	if set&snapshot.AskFromScript != 0 {
		out = append(out, "from where it names scripts")
	}
	return out
}

// over names operations on sockets of one protocol.
func over(protocol string, operations uint32) []string {
	if others, _, _ := snapshot.SocketsAsked(everything(Network)); operations == others {
		return []string{protocol}
	}
	out := Operations(Network, operations)
	for i := range out {
		out[i] += " over " + protocol
	}
	return out
}

// everything is all that rules of a section may ask for.
func everything(s Section) uint32 {
	operations := bitsOf(s, operationNames[s]...)
	switch s {
	case Executables:
		return snapshot.AskProgram | snapshot.AskScript | snapshot.AskMapping
	case Network:
		return operations | snapshot.OverSCTP(operations) | snapshot.OverICMP(operations)
	}
	return operations
}

// bitsOf are the bits of a section's operations of these names.
func bitsOf(s Section, names ...string) (bits uint32) {
	for _, name := range names {
		bits |= 1 << slices.Index(operationNames[s], name)
	}
	return bits
}

// OriginOf names the bit of an origin; empty if it is not known.
func OriginOf(bit uint8) events.Origin {
	switch bit {
	case snapshot.OriginImage:
		return events.OriginImage
	case snapshot.OriginModified:
		return events.OriginModified
	case snapshot.OriginMemory:
		return events.OriginMemory
	case snapshot.OriginOutside:
		return events.OriginOutside
	}
	return ""
}

// capabilityNames are those of the kernel, by number.
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// Capability names the one capability of a set; empty if there is none.
func Capability(set uint64) string {
	if set == 0 {
		return ""
	}
	return capabilityName(bits.TrailingZeros64(set))
}

func capabilityName(n int) string {
	if n < len(capabilityNames) {
		return capabilityNames[n]
	}
	return fmt.Sprintf("CAP_%d", n)
}

// capabilities names a set.
func capabilities(set uint64) []string {
	var out []string
	for set != 0 {
		bit := bits.TrailingZeros64(set)
		set &^= 1 << bit
		out = append(out, capabilityName(bit))
	}
	return out
}

// Addr is the address of an operation; the zero one if it has none.
func Addr(q bpf.RuntimeQuery) netip.Addr {
	switch q.Family {
	case bpf.FamilyIPv4:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(q.Address.Low))
		return netip.AddrFrom4(b)
	case bpf.FamilyIPv6:
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], q.Address.High)
		binary.BigEndian.PutUint64(b[8:], q.Address.Low)
		return netip.AddrFrom16(b)
	}
	return netip.Addr{}
}
