package palisade.rules.r54_test

import data.palisade.rules.r54_audit

policy(mode, action) := {"metadata": {"name": "p"}, "spec": {
	"mode": mode,
	"runtime": {"executables": {"rules": [{"name": "shell", "action": action, "paths": ["/usr/bin/dash"]}]}},
}}

asked(object, old) := {"kind": "ClusterwidePolicy", "object": object, "old": old}

renamed := json.patch(policy("Audit", "Kill"), [{"op": "replace", "path": "/spec/runtime/executables/rules/0/name", "value": "other"}])

test_updates[note] if {
	some note, tc in {
		"from mode Audit": {"old": policy("Audit", "Kill"), "want": 0},
		"from action Audit": {"old": policy("Enforce", "Audit"), "want": 0},
		"from Deny": {"old": policy("Enforce", "Deny"), "want": 1},
		"of a rule that is new": {"old": renamed, "want": 1},
	}
	count(r54_audit.violations) == tc.want with input as asked(policy("Enforce", "Kill"), tc.old)
}

test_creates[note] if {
	some note, tc in {
		"a Kill": {"object": policy("Enforce", "Kill"), "want": {"rule shell kills, and was not in Audit before"}},
		"a Kill in Audit": {"object": policy("Audit", "Kill"), "want": set()},
		"a Deny": {"object": policy("Enforce", "Deny"), "want": set()},
	}
	{v.why | some v in r54_audit.violations} == tc.want with input as {"kind": "ClusterwidePolicy", "object": tc.object}
}
