package palisade.rules.r37_test

import data.palisade.rules.r37_lockout

policy := {"kind": "NetworkPolicy", "object": {"metadata": {"name": "p", "namespace": "palisade-system"}, "spec": {}}}

isolated := [
	{"what": "node n1 to pod c", "direction": "ingress", "rule": "(isolated)", "policy": "pnp/palisade-system/p"},
	{"what": "node n2 to pod c", "direction": "ingress", "rule": "(isolated)", "policy": "pnp/palisade-system/p"},
]

denied := [{"what": "pod c to the API server", "direction": "egress", "rule": "rest", "policy": "cwp/p"}]

test_nothing_cut if {
	count(r37_lockout.violations) == 0 with input as policy with palisade.cut as []
}

test_isolation_is_one_violation if {
	violations := r37_lockout.violations with input as policy with palisade.cut as isolated
	count(violations) == 1
	some violation in violations
	violation.field == "spec.isolate"
	violation.why == "(isolated) of pnp/palisade-system/p denies node n1 to pod c (and 1 more)"
}

test_rule_of_a_direction if {
	some violation in r37_lockout.violations with input as policy with palisade.cut as denied
	violation.field == "spec.egress"
}

stopped := [{"what": "pod a to load eBPF programs", "direction": "runtime", "rule": "privileges/kernel", "policy": "cwp/p"}]

test_what_runs[kind] if {
	some kind, field in {"ClusterwidePolicy": "spec.runtime.privileges", "RuntimePolicy": "spec.privileges"}
	violations := r37_lockout.violations with input as json.patch(policy, [{"op": "replace", "path": "/kind", "value": kind}])
		with palisade.cut as stopped
	count(violations) == 1
	some violation in violations
	violation.field == field
	violation.why == "privileges/kernel of cwp/p denies pod a to load eBPF programs"
}
