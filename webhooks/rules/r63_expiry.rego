# METADATA
# title: a denial with an end
# description: >-
#   What ends by its expiresAt ends by itself, at night or on a holiday: where it denied
#   or isolated, traffic and processes are let through from then on.
# custom:
#   rule: 63
#   severity: W
#   kinds: [NetworkPolicy, RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r63_expiry

import data.palisade.runtime

violations contains violation if {
	at := input.object.spec.expiresAt
	runtime.enforces(input.object)
	count(denials) > 0
	violation := {
		"field": "spec.expiresAt",
		"why": sprintf("from %s on nothing of this policy denies what %s does now", [at, shown]),
		"fix": "nothing to do if that is meant, else remove it; palisade explain --at says what is allowed then",
	}
}

shown := concat(", ", sort(denials)) if count(denials) <= 5

shown := sprintf("%s and %d more", [concat(", ", array.slice(sort(denials), 0, 5)), count(denials) - 5]) if count(denials) > 5

# denials are the rules that end with the policy and leave something open.
denials contains sprintf("%s/%s", [direction, rule.name]) if {
	some direction in ["ingress", "egress"]
	some rule in object.get(input.object.spec, direction, [])
	rule.action == "Deny"
}

denials contains sprintf("%s/(isolated)", [lower(direction)]) if {
	some direction in ["Ingress", "Egress"]
	input.object.spec.isolate in {direction, "Both"}
}

denials contains sprintf("%s/%s", [entry.section, entry.rule.name]) if {
	some entry in runtime.entries
	entry.action in {"Deny", "Kill"}
}

denials contains sprintf("%s/(isolated)", [section]) if {
	some section in ["executables", "files", "privileges", "network"]
	runtime.root[section]["default"] == "Deny"
}
