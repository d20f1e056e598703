package snapshot

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// The last values of the enumerations that rows carry as bytes.
const (
	lastTier       = 4 // model.TierDefault
	lastPolicyKind = runtimePolicyKind
	lastEndpoint   = 2 // model.EndpointExternal
	endpointPod    = 0
	endpointNode   = 1
	maxTags        = 64
	segmentSize    = 1 + 2 + 2 + answerSize
	answerSize     = 1 + 16 + 16
)

// ComparePrefixes orders prefixes as snapshots list them: IPv4 first, then by
// address, then the shorter first.
func ComparePrefixes(a, b netip.Prefix) int {
	return strings.Compare(string(appendPrefix(nil, a)), string(appendPrefix(nil, b)))
}

func decodeMeta(_, v *reader) Row {
	row := MetaRow{Node: v.name()}
	for range v.count(6) {
		p := v.prefix()
		if n := len(row.PodRanges); v.err == nil && n > 0 && ComparePrefixes(row.PodRanges[n-1], p) >= 0 {
			v.fail(errOrder)
		}
		if v.err != nil {
			return row
		}
		row.PodRanges = append(row.PodRanges, p)
	}
	return row
}

func decodeRule(k, v *reader) Row {
	row := RuleRow{
		ID: k.id(), Tier: v.enum(lastTier), PolicyKind: v.enum(lastPolicyKind),
		Namespace: v.string(), Policy: v.name(), Rule: v.name(), Severity: v.string(), Message: v.string(),
	}
	n := v.count(1)
	if n > maxTags {
		v.fail(fmt.Errorf("%d tags are over %d", n, maxTags))
		return row
	}
	for range n {
		row.Tags = append(row.Tags, v.string())
	}
	return row
}

func decodeProgram(k, v *reader) Row {
	row := ProgramRow{ID: k.id(), Default: v.answer()}
	n := v.count(segmentSize)
	if n > 0 {
		row.Segments = make([]Segment, n)
	}
	for i := range row.Segments {
		row.Segments[i] = Segment{Proto: v.uint8(), Lo: v.uint16(), Hi: v.uint16(), Answer: v.answer()}
		if err := checkSegment(row, i); err != nil {
			v.fail(fmt.Errorf("segment %d: %w", i, err))
			return row
		}
	}
	return row
}

// checkSegment holds a program to its one form: equal programs are equal bytes.
func checkSegment(row ProgramRow, i int) error {
	s := row.Segments[i]
	if s.Lo > s.Hi {
		return fmt.Errorf("ports %d to %d", s.Lo, s.Hi)
	}
	if s.Answer == row.Default {
		return errors.New("answers like the default")
	}
	if i == 0 {
		return nil
	}
	switch last := row.Segments[i-1]; {
	case last.Proto > s.Proto, last.Proto == s.Proto && last.Hi >= s.Lo:
		return errOrder
	case last.Proto == s.Proto && last.Hi+1 == s.Lo && last.Answer == s.Answer:
		return errors.New("not merged with its neighbour")
	}
	return nil
}

func decodeRuleset(k, v *reader) Row {
	return RulesetRow{ID: k.id(), Egress: v.enum(1) == 1, Groups: v.groups()}
}

func decodeCell(k, v *reader) Row {
	return CellRow{Ruleset: k.id(), Set: k.id(), Program: v.id()}
}

func decodeKind(k, v *reader) Row {
	row := KindRow{ID: k.id(), Groups: v.groups()}
	if row.Groups == nil {
		v.fail(errEmpty)
	}
	return row
}

func decodePart(k, v *reader) Row {
	return PartRow{Prefix: k.prefix(), Groups: v.groups()}
}

func decodeSubject(k, v *reader) Row {
	return SubjectRow{Kind: k.id(), Ingress: v.id(), Egress: v.id()}
}

func decodeLocal(k, v *reader) Row {
	row := LocalRow{UID: k.text(k.take(len(k.b))), Kind: v.id(), Namespace: v.string(), Name: v.name()}
	if row.UID == "" {
		k.fail(errEmpty)
	}
	return row
}

func decodeAddress(k, v *reader) Row {
	row := AddressRow{
		Addr: k.addr(), Endpoint: v.enum(lastEndpoint), Kind: v.id(),
		UID: v.string(), Namespace: v.string(), Name: v.name(),
	}
	switch {
	case row.Addr.Is4In6():
		k.fail(errors.New("IPv4 address in IPv6 form"))
	case row.Endpoint != endpointPod && row.UID != "":
		v.fail(errors.New("has a UID and is no pod"))
	case row.Endpoint == endpointNode && row.Namespace != "":
		v.fail(errors.New("node in a namespace"))
	}
	return row
}
