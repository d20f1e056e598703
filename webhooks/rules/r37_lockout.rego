# METADATA
# title: the policy system is cut off
# description: >-
#   What the controller needs (the API server to it, it to the API server, agents
#   to it), and what the controller and the agents have to do (start, load their
#   programs, use their files and sockets), is judged with the policy in force. A
#   policy that denies any of it could not be taken back by the system that it cut
#   off.
# custom:
#   rule: 37
#   severity: R
#   kinds: [NetworkPolicy, RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r37_lockout

cuts := palisade.cut(input.kind, input.object)

# One violation per deciding rule, however many connections it cuts.
violations contains violation if {
	some cut in cuts
	same := [c | some c in cuts; c.policy == cut.policy; c.rule == cut.rule; c.direction == cut.direction]
	violation := {
		"field": field(cut),
		"why": sprintf("%s of %s denies %s%s", [cut.rule, cut.policy, same[0].what, more(count(same))]),
		"fix": sprintf("exclude the namespace of the policy system from the subject, or %s", [instead(cut)]),
	}
}

instead(cut) := "narrow the rule, or accept that in the section" if {
	cut.direction == "runtime"
} else := sprintf("accept that %s first", [cut.direction])

field(cut) := sprintf("spec.%s", [split(cut.rule, "/")[0]]) if {
	cut.direction == "runtime"
	input.kind == "RuntimePolicy"
} else := sprintf("spec.runtime.%s", [split(cut.rule, "/")[0]]) if {
	cut.direction == "runtime"
} else := "spec.isolate" if {
	cut.rule == "(isolated)"
	input.kind == "NetworkPolicy"
} else := sprintf("spec.%s", [cut.direction])

more(n) := "" if n == 1

more(n) := sprintf(" (and %d more)", [n - 1]) if n > 1
