// Package runtimetest puts operations of package rowtest as the kernel takes them.
package runtimetest

import (
	"fmt"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

// Question puts an operation of a container as the kernel's match code takes it.
func Question(l *layout.Layout, uid, container string, op rowtest.Operation) bpf.RuntimeQuestion {
	key := layout.PodKey(uid)
	q := bpf.RuntimeQuestion{
		Container: bpf.RuntimeContainer{UIDHigh: key.High, UIDLow: key.Low, Name: layout.ContainerName(container)},
		Query: bpf.RuntimeQuery{
			Capabilities: op.Capabilities, Operations: op.Operations, Section: op.Section, Origin: op.Origin,
			Owner: snapshot.OwnerNot, Protocol: op.Proto, Port: op.Port,
		},
	}
	switch container {
	case rowtest.Pending:
		q.Container.Name = bpf.RuntimeNamePending
	case snapshot.RuntimePauseContainer:
		q.Container.Name = bpf.RuntimeNameSandbox
	}
	if op.Owns {
		q.Query.Owner = snapshot.OwnerOnly
	}
	for flag, on := range map[uint8]bool{bpf.RuntimeMapping: op.Mapping, bpf.RuntimeDirectory: op.Directory, bpf.RuntimeUnresolvable: op.Unresolvable} {
		if on {
			q.Query.Flags |= flag
		}
	}
	if op.Addr.IsValid() {
		q.Query.Address, q.Query.Family = layout.KeyOf(op.Addr), bpf.FamilyIPv6
		if op.Addr.Is4() {
			q.Query.Family = bpf.FamilyIPv4
		}
	}
	q.Chain.Count = uint32(len(op.Chain))
	for i, path := range op.Chain {
		q.Chain.Executable[i] = l.Fingerprint(path)
	}
	if op.Overflow {
		q.Chain.Flags = bpf.RuntimeChainOverflow
	}
	if !op.Unresolvable {
		q.Path.Length = uint32(len(op.Path))
		copy(q.Path.Bytes[:], op.Path)
	}
	return q
}

// Answer reads an answer's words.
func Answer(l *layout.Layout, a bpf.RuntimeAnswer) rowtest.RuntimeVerdict {
	return rowtest.RuntimeVerdict{Enforced: decision(l, a.Enforced), Staged: decision(l, a.Staged)}
}

func decision(l *layout.Layout, word uint64) rowtest.RuntimeDecision {
	_, flags, slot := bpf.RuntimeWordParts(word)
	row, ok := l.Rule(slot)
	if !ok {
		row.Rule = fmt.Sprintf("slot %d", slot)
	}
	return rowtest.RuntimeDecision{Rule: row.Rule, Deny: flags&bpf.RuntimeDeny != 0, Kill: flags&bpf.RuntimeKill != 0}
}
