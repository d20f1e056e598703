package palisade.rules.r53_test

import data.palisade.rules.r53_system

rule(action) := {"executables": {"rules": [{"name": "a", "action": action, "paths": ["/usr/bin/dash"]}]}}

rtp(namespace, spec) := {"kind": "RuntimePolicy", "object": {"metadata": {"name": "p", "namespace": namespace}, "spec": spec}}

cwp(subject) := {"kind": "ClusterwidePolicy", "object": {"metadata": {"name": "p"}, "spec": {"subject": subject, "runtime": rule("Kill")}}}

selected(subject) := ["kube-public", "kube-system", "shop"] if subject.namespaces == {}

selected(subject) := ["shop"] if subject.namespaces != {}

selected(subject) := [] if subject.nodes

reasons(violations) := {v.why | some v in violations}

test_namespaced[note] if {
	some note, tc in {
		"a namespace of Kubernetes": {"policy": rtp("kube-system", rule("Kill")), "want": {"a rule kills processes of namespace kube-system"}},
		"another": {"policy": rtp("shop", rule("Kill")), "want": set()},
		"a Deny": {"policy": rtp("kube-system", rule("Deny")), "want": set()},
		"in Audit": {"policy": rtp("kube-system", object.union(rule("Kill"), {"mode": "Audit"})), "want": set()},
	}
	reasons(r53_system.violations) == tc.want with input as tc.policy
}

test_clusterwide[note] if {
	some note, tc in {
		"everywhere": {
			"subject": {"namespaces": {}},
			"want": {"a rule kills processes of namespace kube-public", "a rule kills processes of namespace kube-system"},
		},
		"by label": {"subject": {"namespaces": {"matchLabels": {"team": "a"}}}, "want": set()},
		"nodes": {"subject": {"nodes": {"matchLabels": {"pool": "edge"}}}, "want": {"a rule kills processes of nodes"}},
	}
	reasons(r53_system.violations) == tc.want with input as cwp(tc.subject) with palisade.namespaces as selected
}

isolation(subject, more) := {"kind": "ClusterwidePolicy", "object": {
	"metadata": {"name": "p"},
	"spec": object.union({"subject": subject, "runtime": {"minimumBackend": "Any", "files": {"default": "Deny"}, "network": {"default": "Accept"}}}, more),
}}

fields(violations) := {v.field | some v in violations}

test_isolation[note] if {
	some note, tc in {
		"of nodes": {"subject": {"nodes": {}}, "more": {}, "want": {"spec.runtime.files.default"}},
		"of nodes, in Audit": {"subject": {"nodes": {}}, "more": {"mode": "Audit"}, "want": set()},
		"of pods": {"subject": {"namespaces": {}}, "more": {}, "want": set()},
	}
	fields(r53_system.violations) == tc.want with input as isolation(tc.subject, tc.more) with palisade.namespaces as selected
}

test_isolation_opt_in if {
	opted := json.patch(isolation({"nodes": {}}, {}), [{
		"op": "add",
		"path": "/object/metadata/annotations",
		"value": {"policy.palisade.dev/allow-kill-in-system": "true"},
	}])
	count(r53_system.violations) == 0 with input as opted with palisade.namespaces as selected
}

test_opt_in if {
	opted := json.patch(cwp({"namespaces": {}}), [{
		"op": "add",
		"path": "/object/metadata/annotations",
		"value": {"policy.palisade.dev/allow-kill-in-system": "true"},
	}])
	count(r53_system.violations) == 0 with input as opted with palisade.namespaces as selected
}
