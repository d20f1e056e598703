// Package host looks at what a node must offer so that Palisade can enforce on
// it: privileges, kernel features, mounts, sysctls and connection tracking. It
// sets what it may, and says of the rest what lacks, where, and how to mend it.
package host

import (
	"fmt"
	"slices"
	"strings"
)

// Severity says what a finding means for enforcement.
type Severity int

// The severities.
const (
	// Fatal: nothing can be enforced.
	Fatal Severity = iota
	// Bypass: some traffic goes around the hooks, so no policy may be called
	// programmed on this node.
	Bypass
	// Notice: enforcement is whole, something around it is not.
	Notice
)

func (s Severity) String() string { return [...]string{"fatal", "bypass", "notice"}[s] }

// Reason is a constant under which a finding appears in conditions. The status of
// policies uses the same ones (api/v1alpha1).
type Reason string

// The reasons.
const (
	ReasonPrivileges Reason = "PrivilegesMissing"  // the agent may not do its work
	ReasonBPFFS      Reason = "BPFFSMissing"       // programs cannot be pinned
	ReasonKernel     Reason = "KernelUnsupported"  // the kernel lacks what enforcement needs
	ReasonSysctl     Reason = "SysctlOff"          // a setting is off and cannot be set
	ReasonBypassed   Reason = "DatapathBypassed"   // traffic goes around the hooks
	ReasonUnverified Reason = "DatapathUnverified" // nobody knows what the kernel holds
)

// Finding is one thing that is not as it must be.
type Finding struct {
	Reason   Reason
	Severity Severity
	What     string // what lacks
	Where    string // the file, setting or device
	Mend     string // what to do about it
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s (%s); to mend: %s", f.Severity, f.What, f.Where, f.Mend)
}

// Worst returns the severity of the worst finding, Notice+1 if there is none.
func Worst(fs []Finding) Severity {
	worst := Notice + 1
	for _, f := range fs {
		worst = min(worst, f.Severity)
	}
	return worst
}

// Only returns the findings of one severity.
func Only(fs []Finding, s Severity) []Finding {
	return slices.DeleteFunc(slices.Clone(fs), func(f Finding) bool { return f.Severity != s })
}

// Join puts findings on one line.
func Join(fs []Finding) string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, " | ")
}
