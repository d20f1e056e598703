package palisade.rules.r17_test

import data.palisade.rules.r17_clusterwide
import data.palisade.rules.r17_namespaced

cwp(subject) := {"kind": "ClusterwidePolicy", "object": {
	"metadata": {"name": "p"},
	"spec": {"tier": "Admin", "priority": 10, "subject": subject},
}}

pnp(subject) := {"kind": "NetworkPolicy", "object": {
	"metadata": {"name": "p", "namespace": "shop"},
	"spec": {"isolate": "Ingress", "subject": subject},
}}

fields(violations) := {v.field | some v in violations}

test_clusterwide_everybody[note] if {
	some note, tc in {
		"namespaces": {"subject": {"namespaces": {}}, "want": {"spec.subject.namespaces"}},
		"namespaces, empty members": {
			"subject": {"namespaces": {"matchLabels": {}, "matchExpressions": []}},
			"want": {"spec.subject.namespaces"},
		},
		"pods": {
			"subject": {"pods": {"namespaceSelector": {}, "podSelector": {}}},
			"want": {"spec.subject.pods"},
		},
		"external workloads": {
			"subject": {"externalWorkloads": {"namespaceSelector": {}, "selector": {}}},
			"want": {"spec.subject.externalWorkloads"},
		},
		"nodes": {"subject": {"nodes": {}}, "want": {"spec.subject.nodes"}},
		"nodes of a pool": {"subject": {"nodes": {"matchLabels": {"pool": "edge"}}}, "want": set()},
		"containers do not narrow it enough": {
			"subject": {"namespaces": {}, "containers": ["app"]},
			"want": {"spec.subject.namespaces"},
		},
		"labelled namespaces": {"subject": {"namespaces": {"matchLabels": {"restricted": "true"}}}, "want": set()},
		"labelled pods": {
			"subject": {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "db"}}}},
			"want": set(),
		},
		"pods of labelled namespaces": {
			"subject": {"pods": {
				"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]},
				"podSelector": {},
			}},
			"want": set(),
		},
	}
	fields(r17_clusterwide.violations) == tc.want with input as cwp(tc.subject)
}

test_clusterwide_opt_in if {
	opted := json.patch(
		cwp({"namespaces": {}}),
		[{"op": "add", "path": "/object/metadata/annotations", "value": {"policy.palisade.dev/allow-all-subjects": "true"}}],
	)
	count(r17_clusterwide.violations) == 0 with input as opted
}

test_clusterwide_opt_in_must_be_true if {
	opted := json.patch(
		cwp({"namespaces": {}}),
		[{"op": "add", "path": "/object/metadata/annotations", "value": {"policy.palisade.dev/allow-all-subjects": "no"}}],
	)
	count(r17_clusterwide.violations) == 1 with input as opted
}

test_namespaced_everybody[note] if {
	some note, tc in {
		"pods": {"subject": {"pods": {}}, "want": {"spec.subject.pods"}},
		"external workloads": {"subject": {"externalWorkloads": {}}, "want": {"spec.subject.externalWorkloads"}},
		"labelled": {"subject": {"pods": {"matchLabels": {"app": "db"}}}, "want": set()},
	}
	fields(r17_namespaced.violations) == tc.want with input as pnp(tc.subject)
}
