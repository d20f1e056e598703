package palisade.rules.r30_test

import data.palisade.rules.r30_budget

policy := {"kind": "NetworkPolicy", "object": {"metadata": {"name": "p", "namespace": "shop"}, "spec": {}}}

test_within if {
	count(r30_budget.violations) == 0 with input as policy
		with palisade.estimate as {"entries": 10, "budget": 10, "refused": ""}
}

test_over if {
	some violation in r30_budget.violations with input as policy
		with palisade.estimate as {"entries": 11, "budget": 10, "refused": ""}
	violation.why == "it compiles to 11 entries, the budget is 10"
	violation.excess == 1
}

test_refused_by_the_compiler if {
	violations := r30_budget.violations with input as policy
		with palisade.estimate as {"entries": 11, "budget": 10, "refused": "its sets multiply"}
	violations == {{"field": "spec", "why": "its sets multiply", "fix": r30_budget.fix}}
}
