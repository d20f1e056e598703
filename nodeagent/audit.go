package nodeagent

import (
	"context"
	"strings"
	"time"

	"palisade.dev/palisade/nodeagent/host"
)

// auditing compares the kernel with what it should hold now and then until ctx ends.
func (a *Agent) auditing(ctx context.Context, dp Datapath) {
	for pauseFor := time.Duration(0); pause(ctx, pauseFor, nil); {
		pauseFor = auditEvery
		if !a.audit(ctx, dp) {
			pauseFor = auditAgain
		}
	}
}

// audit reports whether what the kernel holds is known to be right now. Until it is,
// nobody may be told that this node enforces: a hook may be gone.
func (a *Agent) audit(ctx context.Context, dp Datapath) bool {
	drift, err := dp.Audit(ctx)
	if ctx.Err() != nil {
		return false
	}
	if drift != "" {
		a.o.Log.Info("somebody changed the kernel's tables or hooks", "drift", drift, "repaired", err == nil)
	}
	a.status.audit(drift != "", err)
	if err == nil {
		a.found(fromAudit, nil)
		return true
	}
	a.o.Log.Error(err, "the kernel could not be compared with the snapshot")
	what := "the kernel could not be compared with the snapshot: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	if drift != "" {
		what += " (changed by somebody: " + drift + ")"
	}
	a.found(fromAudit, []host.Finding{{
		Reason: host.ReasonUnverified, Severity: host.Bypass, What: what, Where: "this node's programs and maps",
		Mend: "the agent tries again every " + auditAgain.String() + "; if it stays, restart the agent",
	}})
	return false
}

func (s *status) audit(drifted bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.counts.AuditsFailed++
	case drifted:
		s.counts.AuditsRepaired++
	default:
		s.counts.AuditsClean++
	}
	if s.audited != (err == nil) {
		s.audited = err == nil
		s.hurry()
	}
}
