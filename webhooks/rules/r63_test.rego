package palisade.rules.r63_test

import data.palisade.rules.r63_expiry

ends := "2027-01-31T00:00:00Z"

because(names) := {sprintf("from %s on nothing of this policy denies what %s does now", [ends, names])}

asked(kind, spec) := {"kind": kind, "object": {"metadata": {"name": "p"}, "spec": spec}}

shell := {"rules": [{"name": "shell", "action": "Kill", "paths": ["/usr/bin/dash"]}]}

test_network[note] if {
	some note, tc in {
		"isolates both": {"spec": {"expiresAt": ends, "isolate": "Both"}, "want": because("egress/(isolated), ingress/(isolated)")},
		"isolates one": {"spec": {"expiresAt": ends, "isolate": "Egress"}, "want": because("egress/(isolated)")},
		"denies": {
			"spec": {"expiresAt": ends, "isolate": "None", "ingress": [{"name": "a", "action": "Accept"}, {"name": "d", "action": "Deny"}]},
			"want": because("ingress/d"),
		},
		"accepts": {"spec": {"expiresAt": ends, "isolate": "None", "ingress": [{"name": "a", "action": "Accept"}]}, "want": set()},
		"has no end": {"spec": {"isolate": "Both"}, "want": set()},
		"is observed": {"spec": {"expiresAt": ends, "isolate": "Both", "mode": "Audit"}, "want": set()},
	}
	{v.why | some v in r63_expiry.violations} == tc.want with input as asked("NetworkPolicy", tc.spec)
}

test_runtime[note] if {
	some note, tc in {
		"kills": {"spec": {"expiresAt": ends, "executables": shell}, "want": because("executables/shell")},
		"denies the rest": {"spec": {"expiresAt": ends, "files": {"default": "Deny"}}, "want": because("files/(isolated)")},
		"has exceptions alone": {
			"spec": {"expiresAt": ends, "files": {"exceptions": [{"name": "e", "paths": ["/x"]}]}},
			"want": set(),
		},
		"observes": {"spec": {"expiresAt": ends, "files": {"rules": [{"name": "r", "action": "Audit"}]}}, "want": set()},
	}
	{v.why | some v in r63_expiry.violations} == tc.want with input as asked("RuntimePolicy", tc.spec)
}

test_clusterwide[note] if {
	some note, tc in {
		"both parts": {
			"spec": {"expiresAt": ends, "egress": [{"name": "d", "action": "Deny"}], "runtime": {"executables": shell}},
			"want": because("egress/d, executables/shell"),
		},
		"many": {
			"spec": {"expiresAt": ends, "egress": [{"name": name, "action": "Deny"} | some name in ["a", "b", "c", "d", "e", "f", "g"]]},
			"want": because("egress/a, egress/b, egress/c, egress/d, egress/e and 2 more"),
		},
	}
	{v.why | some v in r63_expiry.violations} == tc.want with input as asked("ClusterwidePolicy", tc.spec)
}
