package palisade.rules.r51_test

import data.palisade.rules.r51_entrypoint

rtp(mode, executables) := {"kind": "RuntimePolicy", "object": {
	"metadata": {"name": "p", "namespace": "shop"},
	"spec": {"mode": mode, "executables": executables},
}}

test_entrypoint[note] if {
	some note, tc in {
		"nothing is accepted": {"executables": {"default": "Deny"}, "want": 1},
		"only from what never starts": {
			"executables": {"default": "Deny", "rules": [{"name": "a", "action": "Accept", "origins": ["Image"], "from": ["/usr/bin/app"]}]},
			"want": 1,
		},
		"a Deny accepts nothing": {"executables": {"default": "Deny", "rules": [{"name": "a", "action": "Deny", "paths": ["/x"]}]}, "want": 1},
		"the image": {"executables": {"default": "Deny", "rules": [{"name": "a", "action": "Accept", "origins": ["Image"]}]}, "want": 0},
		"an exception": {"executables": {"default": "Deny", "exceptions": [{"name": "a", "paths": ["/usr/bin/app"]}]}, "want": 0},
		"no allow-list": {"executables": {"default": "Accept", "rules": [{"name": "a", "action": "Deny", "paths": ["/x"]}]}, "want": 0},
	}
	count(r51_entrypoint.violations) == tc.want with input as rtp("Enforce", tc.executables)
}

test_audit_stops_nothing if {
	count(r51_entrypoint.violations) == 0 with input as rtp("Audit", {"default": "Deny"})
}

test_baseline if {
	policy := {"kind": "ClusterwidePolicy", "object": {"metadata": {"name": "p"}, "spec": {
		"tier": "Baseline",
		"runtime": {"executables": {"default": "Deny"}},
	}}}
	{v.field | some v in r51_entrypoint.violations} == {"spec.runtime.executables.default"} with input as policy
}
