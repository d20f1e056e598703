package snapshot

import (
	"bytes"
	"crypto/sha256"
)

// number hashes content under a domain, so that equal bytes of different
// meaning never share a number.
func number(domain string, content []byte) [16]byte {
	h := sha256.New()
	h.Write([]byte("palisade " + domain + "\x00"))
	h.Write(content)
	return [16]byte(h.Sum(nil)[:16])
}

// NewKindID numbers a kind by the bytes that describe it.
func NewKindID(content []byte) KindID { return number("kind", content) }

// NewGroupID numbers a group by the bytes that describe its condition.
func NewGroupID(content []byte) GroupID { return number("group", content) }

// NewRulesetID numbers a ruleset by the bytes that describe it.
func NewRulesetID(content []byte) RulesetID { return number("ruleset", content) }

// NewProgramID numbers a port program by the bytes that describe it.
func NewProgramID(content []byte) ProgramID { return number("program", content) }

// NewRuleID numbers a rule by the bytes that describe it.
func NewRuleID(content []byte) RuleID { return number("rule", content) }

// SetOf numbers a set of groups. The groups are sorted and have no duplicates;
// SetOf(nil) numbers the empty set.
func SetOf(groups []GroupID) SetID {
	h := sha256.New()
	h.Write([]byte("palisade set\x00"))
	for i := range groups {
		h.Write(groups[i][:])
	}
	return SetID(h.Sum(nil)[:16])
}

// CompareGroupIDs orders groups by their bytes, the order of every list of
// groups in a snapshot.
func CompareGroupIDs(a, b GroupID) int { return bytes.Compare(a[:], b[:]) }

// ContentID returns the program's number: the hash of its encoded value.
func (r ProgramRow) ContentID() ProgramID { return NewProgramID(r.appendValue(nil)) }
