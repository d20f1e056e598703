package v1alpha1

// Mode says whether a policy takes part in verdicts.
//
// +kubebuilder:validation:Enum=Enforce;Audit
type Mode string

const (
	// ModeEnforce is the ordinary mode: the policy accepts, denies, passes and
	// isolates.
	ModeEnforce Mode = "Enforce"
	// ModeAudit only observes: the policy never accepts, denies, passes or
	// isolates. It is compiled into the staged world (every Enforce policy
	// plus every Audit policy), and where the staged verdict differs from the
	// enforced one, the flow's event names the staged verdict, policy and rule.
	ModeAudit Mode = "Audit"
)

// Severity grades a policy for people and for event consumers. It never
// changes a verdict.
//
// +kubebuilder:validation:Enum=Info;Low;Medium;High;Critical
type Severity string

// Severities, from the least to the most grave.
const (
	SeverityInfo     Severity = "Info"
	SeverityLow      Severity = "Low"
	SeverityMedium   Severity = "Medium"
	SeverityHigh     Severity = "High"
	SeverityCritical Severity = "Critical"
)

// Tag is one word that is copied to events, for example "pci".
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
type Tag string

// Action is what a rule does with a connection, or a runtime rule with an
// operation, that it matches. Allow and Deny are verdicts, the outcome of all
// rules together; an action is what one rule asks for.
type Action string

const (
	// ActionAccept ends the judgement with the verdict Allow, as far as the
	// order of judgement lets this rule decide.
	ActionAccept Action = "Accept"
	// ActionDeny ends the judgement with the verdict Deny. A connection is
	// dropped, not rejected: the client sees a timeout. An operation fails with
	// EPERM.
	ActionDeny Action = "Deny"
	// ActionPass ends the judgement of this tier without a verdict: rules of
	// lower precedence in the same tier are skipped and the next tier decides.
	// Only the ingress and egress of a ClusterwidePolicy have it.
	ActionPass Action = "Pass"
	// ActionAudit decides nothing: it is a Deny in the staged world alone, so
	// that events show what a Deny would stop. Only runtime rules have it.
	ActionAudit Action = "Audit"
	// ActionKill denies the operation and kills the process with SIGKILL; an
	// execution is killed before the first instruction of the new program. Only
	// runtime rules have it.
	ActionKill Action = "Kill"
)

// Tier is one of the two tiers that a ClusterwidePolicy can stand in. The
// Namespace tier between them holds every NetworkPolicy, ours and upstream's, and
// every RuntimePolicy.
//
// +kubebuilder:validation:Enum=Admin;Baseline
type Tier string

const (
	// TierAdmin is judged before the Namespace tier and cannot be overridden
	// from it.
	TierAdmin Tier = "Admin"
	// TierBaseline is judged after the Namespace tier, for connections about
	// which that tier said nothing.
	TierBaseline Tier = "Baseline"
)

// Isolation names the directions in which a NetworkPolicy denies, for its
// subject, everything that no rule accepts.
//
// +kubebuilder:validation:Enum=None;Ingress;Egress;Both
type Isolation string

const (
	// IsolateNone adds rules without isolating.
	IsolateNone Isolation = "None"
	// IsolateIngress denies connections to the subject that nothing accepts.
	IsolateIngress Isolation = "Ingress"
	// IsolateEgress denies connections from the subject that nothing accepts.
	IsolateEgress Isolation = "Egress"
	// IsolateBoth isolates in both directions.
	IsolateBoth Isolation = "Both"
)

// Ingress reports whether the isolation covers connections to the subject.
func (i Isolation) Ingress() bool { return i == IsolateIngress || i == IsolateBoth }

// Egress reports whether the isolation covers connections from the subject.
func (i Isolation) Egress() bool { return i == IsolateEgress || i == IsolateBoth }

// RuleName names a rule inside its policy and direction. Verdicts, events and
// counters carry it.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="a rule's name is a DNS label: lower-case letters, digits and '-', beginning and ending with a letter or digit, for example backend-to-db"
type RuleName string
