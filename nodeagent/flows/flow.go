// Package flows turns what the kernel reports about connections into records that
// people and programs read: JSON lines with both ends' names, the verdict, and the
// tier, policy and rule that made it.
package flows

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"palisade.dev/palisade/snapshot"
)

// Flow is one record: a connection that was denied, or that a rule asked to log,
// or that Audit policies would have judged otherwise.
//
// From opened the connection, To answers it, whichever of them sent the packet.
type Flow struct {
	Time       time.Time `json:"time"`
	Type       string    `json:"type,omitempty"` // TypeFlow; none in recordings of earlier agents
	Verdict    Verdict   `json:"verdict"`
	Direction  Direction `json:"direction"` // which direction decided
	Decision             // what decided, without its verdict: that is Verdict
	Staged     *Judged   `json:"staged,omitempty"` // where Audit policies would change the verdict
	From       End       `json:"from"`
	To         End       `json:"to"`
	Protocol   string    `json:"protocol"`
	ICMP       *ICMP     `json:"icmp,omitempty"`
	Egress     Judged    `json:"egress"`
	Ingress    Judged    `json:"ingress"`
	Generation string    `json:"generation"`
	Node       string    `json:"node,omitempty"`
	Interface  string    `json:"interface,omitempty"` // where the packet came in
	Bytes      uint32    `json:"bytes"`               // of the packet that was judged
	State      string    `json:"state"`               // new, established, reply, untracked
}

// The types of records here; those of package events are others.
const (
	TypeFlow = "flow"
	TypeLost = "lost"
)

// IsFlow reports whether a type is that of a Flow.
func IsFlow(t string) bool { return t == TypeFlow || t == "" }

// Verdict is Allow or Deny.
type Verdict string

// The verdicts.
const (
	Allow Verdict = "Allow"
	Deny  Verdict = "Deny"
)

// Direction is seen from the endpoint that a rule protects.
type Direction string

// The directions.
const (
	Egress  Direction = "Egress"
	Ingress Direction = "Ingress"
)

// Decision names what decided.
type Decision struct {
	Tier     string   `json:"tier"`
	Policy   string   `json:"policy"` // KIND/NAMESPACE/NAME
	Rule     string   `json:"rule"`
	Severity string   `json:"severity,omitempty"`
	Message  string   `json:"message,omitempty"`
	Tags     []string `json:"tags,omitempty"`
}

// Judged is the outcome of one direction.
type Judged struct {
	Verdict Verdict `json:"verdict"`
	Tier    string  `json:"tier"`
	Policy  string  `json:"policy"`
	Rule    string  `json:"rule"`
	// Of what is staged: beside it stand those of what decides.
	Severity string   `json:"severity,omitempty"`
	Message  string   `json:"message,omitempty"`
	Tags     []string `json:"tags,omitempty"`
}

// End is one end of a connection.
type End struct {
	Kind      string     `json:"kind"` // pod, node, external, world
	Namespace string     `json:"namespace,omitempty"`
	Name      string     `json:"name,omitempty"`
	Addr      netip.Addr `json:"addr"`
	Port      uint16     `json:"port,omitempty"`
}

// ICMP is the type and code that opened an ICMP or ICMPv6 exchange.
type ICMP struct {
	Type uint8 `json:"type"`
	Code uint8 `json:"code"`
}

// String is NAMESPACE/NAME, or the address of what has no name.
func (e End) String() string {
	switch {
	case e.Name == "":
		return e.Addr.String()
	case e.Namespace == "":
		return e.Name
	default:
		return e.Namespace + "/" + e.Name
	}
}

// Losses says how many records are missing since the line before.
type Losses struct {
	Time time.Time `json:"time"`
	Type string    `json:"type,omitempty"` // TypeLost; none in recordings of earlier agents
	Lost uint64    `json:"lost"`
	// Where they were lost: "kernel" (more than a rule may report in a second, or
	// the agent was too slow) or "reader" (this reader was too slow).
	Where string `json:"where"`
	// The rule that made more records than it may in a second; none if it was another reason.
	Tier   string `json:"tier,omitempty"`
	Policy string `json:"policy,omitempty"`
	Rule   string `json:"rule,omitempty"`
}

// String is how people read it.
func (l Losses) String() string {
	if l.Rule == "" {
		return fmt.Sprintf("-- %d records lost (%s) --", l.Lost, l.Where)
	}
	return fmt.Sprintf("-- %d records lost (%s) by %s %s %s --", l.Lost, l.Where, l.Tier, l.Policy, l.Rule)
}

var (
	tiers       = [...]string{"Builtin", "Admin", "Namespace", "Baseline", "Default"}
	policyKinds = [...]string{"builtin", "cwp", "pnp", "netpol", "rtp"}
	endKinds    = [...]string{"pod", "node", "external"}
)

func name(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown(" + strconv.Itoa(int(i)) + ")"
}

// EndKind is the name of a kind of endpoint as an AddressRow numbers it.
func EndKind(k uint8) string { return name(endKinds[:], k) }

// DecisionOf tells what a rule of a snapshot stands for.
func DecisionOf(r snapshot.RuleRow) Decision {
	policy := name(policyKinds[:], r.PolicyKind) + "/"
	if r.Namespace != "" {
		policy += r.Namespace + "/"
	}
	return Decision{
		Tier: name(tiers[:], r.Tier), Policy: policy + r.Policy, Rule: r.Rule,
		Severity: r.Severity, Message: r.Message, Tags: r.Tags,
	}
}

// Builtin is a rule that no snapshot holds.
func Builtin(rule string) Decision {
	return Decision{Tier: "Builtin", Policy: "builtin/palisade", Rule: rule}
}

// Judge makes the outcome of a direction out of what decided it.
func (d Decision) Judge(v Verdict) Judged {
	return Judged{Verdict: v, Tier: d.Tier, Policy: d.Policy, Rule: d.Rule}
}

// Stage is Judge with what the policy has to say about it.
func (d Decision) Stage(v Verdict) *Judged {
	j := d.Judge(v)
	j.Severity, j.Message, j.Tags = d.Severity, d.Message, d.Tags
	return &j
}

// Protocol is the name that policies use, or the number.
func Protocol(p uint8) string {
	switch p {
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmpv6"
	case 132:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}
