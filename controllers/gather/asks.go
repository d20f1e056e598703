package gather

import (
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// Ask is what a node must be able to judge so that a rule about processes is in force:
// operations of its section, as bits that package snapshot explains (AskScript …).
type Ask struct {
	Rule string // model.RuleIsolated: the section's default
	Bits uint32
}

// asks lists what the rules of a section ask for that stop or observe anything: what a
// node cannot judge happens, as an Accept has it.
func asks(section model.Section, s *model.RuntimeSection) []Ask {
	var out []Ask
	for i := range s.Rules {
		switch r := &s.Rules[i]; r.Action {
		case model.RuntimeKill, model.RuntimeDeny, model.RuntimeAudit:
			out = append(out, Ask{r.Name, bitsOf(section, r)})
		}
	}
	if s.Isolates {
		out = append(out, Ask{model.RuleIsolated, bitsOf(section, &model.RuntimeRule{})})
	}
	return out
}

func bitsOf(section model.Section, r *model.RuntimeRule) uint32 {
	bits := r.Operations
	switch section {
	case model.SectionExecutables:
		bits = snapshot.AskProgram | snapshot.AskScript | snapshot.AskMapping
	case model.SectionFiles:
		bits = orAll(bits, uint32(model.FileOperations))
	case model.SectionPrivileges:
		bits = orAll(bits, uint32(model.PrivilegeOperations))
	case model.SectionNetwork:
		bits = overProtocols(orAll(bits, uint32(model.SocketOperations)), r.Ports)
	}
	if len(r.From) > 0 {
		bits |= snapshot.AskFromScript
	}
	return bits
}

// orAll: a rule that names no operations is about all.
func orAll(bits, all uint32) uint32 {
	if bits == 0 {
		return all
	}
	return bits
}

// overProtocols says over which protocols a rule asks for operations. Nobody listens for
// ICMP.
func overProtocols(operations uint32, ports []model.RuntimePorts) uint32 {
	icmp := operations &^ uint32(model.SocketListen)
	if len(ports) == 0 {
		return operations | snapshot.OverSCTP(operations) | snapshot.OverICMP(icmp)
	}
	var bits uint32
	for _, p := range ports {
		switch p.Proto {
		case model.ProtoSCTP:
			bits |= snapshot.OverSCTP(operations)
		case model.ProtoICMP, model.ProtoICMPv6:
			bits |= snapshot.OverICMP(icmp)
		case model.ProtoAny:
			bits |= operations | snapshot.OverSCTP(operations)
		default:
			bits |= operations
		}
	}
	return bits
}
