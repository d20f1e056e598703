package model

import "net/netip"

// Verdict is what happens to a connection or an operation.
type Verdict uint8

// The verdicts, the mildest first.
const (
	Allow Verdict = iota
	Deny
	Kill // operations only: denied, and the process is killed
)

func (v Verdict) String() string {
	return [...]string{"Allow", "Deny", "Kill"}[v]
}

// RuleRef names what decided: a rule of a policy, or one of the implicit rules.
type RuleRef struct {
	Tier   Tier
	Policy PolicyRef
	Rule   string
}

// The names of implicit rules. Parentheses keep them apart from rules that
// people write, whose names are DNS labels.
const (
	RuleIsolated = "(isolated)"   // a policy isolates the subject and nothing accepts; Policy is the first that isolates
	RuleDefault  = "(default)"    // nothing matched in any tier
	RuleSelf     = "(self)"       // a pod reaches itself
	RuleOwnNode  = "(own-node)"   // a node reaches the pods that it hosts
	RuleNobody   = "(no-subject)" // this end is no endpoint that policies can protect

	// RuleUnresolvable: the path of an operation is too long to be compared, and
	// something in the section might deny it.
	RuleUnresolvable = "(unresolvable)"
)

// BuiltinPolicy is the policy that implicit rules outside any object belong to.
var BuiltinPolicy = PolicyRef{Kind: KindBuiltin, Name: "palisade"}

// Builtin returns the reference of an implicit rule that belongs to no object.
// RuleDefault stands in TierDefault, all others in TierBuiltin.
func Builtin(rule string) RuleRef {
	t := TierBuiltin
	if rule == RuleDefault {
		t = TierDefault
	}
	return RuleRef{Tier: t, Policy: BuiltinPolicy, Rule: rule}
}

// Decision is a verdict with what made it.
type Decision struct {
	Verdict Verdict
	By      RuleRef
	Log     bool // the deciding rule asks for a flow record
}

// Judgement is the outcome for one direction, or for one operation: what is enforced, and what would
// be if every Audit policy were enforced too. They are equal where Audit
// policies change nothing.
type Judgement struct {
	Enforced Decision
	Staged   Decision
}

// Connection is a question: may From open it to To?
type Connection struct {
	From, To netip.Addr // after translation: a Service's backend, not its ClusterIP
	Proto    Protocol   // never ProtoAny
	Port     Port       // the server's port; type<<8|code for ICMP; 0 for protocols without
}

// Outcome answers a Connection. It is allowed if both directions allow it.
type Outcome struct {
	Egress  Judgement
	Ingress Judgement
}

// Verdict is the enforced verdict over both directions.
func (o Outcome) Verdict() Verdict {
	return max(o.Egress.Enforced.Verdict, o.Ingress.Enforced.Verdict)
}
