package snapshot

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// The bits of a runtime rule's flags.
const (
	runtimeEnforced = 1 << iota
	runtimeStaged
	runtimeIsolation
	runtimeDescendants
	runtimeFlagsKnown = 1<<iota - 1
)

func (r RuntimeRuleRow) appendKey(b []byte) []byte { return append(b, r.ID[:]...) }

func (r RuntimeRuleRow) appendValue(b []byte) []byte {
	var flags uint8
	for _, f := range [...]struct {
		on  bool
		bit uint8
	}{{r.Enforced, runtimeEnforced}, {r.Staged, runtimeStaged}, {r.Isolation, runtimeIsolation}, {r.FromDescendants, runtimeDescendants}} {
		if f.on {
			flags |= f.bit
		}
	}
	b = append(b, r.Section, r.Action, flags)
	b = binary.BigEndian.AppendUint32(b, r.Operations)
	b = append(b, r.Origins, r.Owner)
	b = binary.BigEndian.AppendUint64(b, r.Capabilities)
	b = appendStrings(appendStrings(b, r.Paths), r.Directories)
	b = binary.AppendUvarint(b, uint64(len(r.Globs)))
	for _, g := range r.Globs {
		b = appendString(appendString(b, g.Prefix), g.Suffix)
	}
	b = appendStrings(b, r.From)
	b = binary.AppendUvarint(b, uint64(len(r.Blocks)))
	for _, block := range r.Blocks {
		b = appendBlock(b, block)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Ports)))
	for _, p := range r.Ports {
		b = append(b, p.Proto)
		b = binary.BigEndian.AppendUint16(b, p.Lo)
		b = binary.BigEndian.AppendUint16(b, p.Hi)
	}
	b = append(b, r.Peers[:]...)
	b = appendStrings(b, r.Arguments)
	return binary.BigEndian.AppendUint32(b, r.RateLimit)
}

func appendBlock(b []byte, block RuntimeBlock) []byte {
	b = appendPrefix(b, block.CIDR)
	b = binary.AppendUvarint(b, uint64(len(block.Except)))
	for _, e := range block.Except {
		b = appendPrefix(b, e)
	}
	return b
}

// CompareRuntimeGlobs orders globs as rows list them.
func CompareRuntimeGlobs(a, b RuntimeGlob) int {
	return cmp.Or(cmp.Compare(a.Prefix, b.Prefix), cmp.Compare(a.Suffix, b.Suffix))
}

// CompareRuntimeBlocks orders blocks as rows list them.
func CompareRuntimeBlocks(a, b RuntimeBlock) int {
	return cmp.Or(ComparePrefixes(a.CIDR, b.CIDR), slices.CompareFunc(a.Except, b.Except, ComparePrefixes))
}

// CompareRuntimePorts orders ranges of ports as rows list them.
func CompareRuntimePorts(a, b RuntimePort) int {
	return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Lo, b.Lo), cmp.Compare(a.Hi, b.Hi))
}

func (r RuntimeRulesetRow) appendKey(b []byte) []byte { return append(b, r.ID[:]...) }

func (r RuntimeRulesetRow) appendValue(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.Rules)))
	for i := range r.Rules {
		b = append(b, r.Rules[i][:]...)
	}
	return b
}

func (r RuntimeSubjectRow) appendKey(b []byte) []byte {
	return append(append(b, r.Kind[:]...), r.Container...)
}

func (r RuntimeSubjectRow) appendValue(b []byte) []byte { return append(b, r.Ruleset[:]...) }

func (r RuntimePodRow) appendKey(b []byte) []byte { return append(b, r.UID...) }

func (r RuntimePodRow) appendValue(b []byte) []byte {
	return appendString(appendString(append(b, r.Kind[:]...), r.Namespace), r.Name)
}
