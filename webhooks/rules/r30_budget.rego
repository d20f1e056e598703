# METADATA
# title: the compiled policy exceeds its budget
# description: >-
#   The policy is compiled on a shadow, together with everything that is in
#   force. What the compiler would refuse is refused here, where its author sees
#   it.
# custom:
#   rule: 30
#   severity: R
#   kinds: [NetworkPolicy, RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r30_budget

estimate := palisade.estimate(input.kind, input.object)

fix := "use fewer distinct peers, fewer subjects with different policies, or an AddressGroup"

violations contains violation if {
	estimate.refused != ""
	violation := {"field": "spec", "why": estimate.refused, "fix": fix}
}

violations contains violation if {
	estimate.refused == ""
	estimate.entries > estimate.budget
	violation := {
		"field": "spec",
		"why": sprintf("it compiles to %d entries, the budget is %d", [estimate.entries, estimate.budget]),
		"fix": fix,
		"key": "budget",
		"excess": estimate.entries - estimate.budget,
	}
}
