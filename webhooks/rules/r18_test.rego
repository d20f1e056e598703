package palisade.rules.r18_test

import data.palisade.rules.r18_overlap

policy := {"kind": "ClusterwidePolicy", "object": {
	"metadata": {"name": "mine"},
	"spec": {
		"tier": "Admin",
		"priority": 10,
		"subject": {"namespaces": {"matchLabels": {"team": "a"}}},
		"egress": [{"name": "r", "action": "Deny"}],
	},
}}

others := [
	{"name": "mine", "subject": {"namespaces": {}}, "connections": true},
	{"name": "apart", "subject": {"namespaces": {"matchLabels": {"team": "b"}}}, "connections": true},
	{"name": "runtime", "subject": {"namespaces": {}}, "connections": false},
]

asked(tier, priority) := others if {
	tier == "Admin"
	priority == 10
}

overlapping(tier, priority) := array.concat(asked(tier, priority), [
	{"name": "second", "subject": {"namespaces": {}}, "connections": true},
	{"name": "first", "subject": {"namespaces": {"matchLabels": {"tier": "gold"}}}, "connections": true},
])

test_itself_and_disjoint_ones_pass if {
	count(r18_overlap.violations) == 0 with input as policy with palisade.clusterwide as asked
}

test_each_overlap_is_named if {
	violations := r18_overlap.violations with input as policy with palisade.clusterwide as overlapping
	{v.field | some v in violations} == {"spec.priority"}
	{v.why | some v in violations} == {
		"cwp/first has the same and may select the same endpoints",
		"cwp/second has the same and may select the same endpoints",
	}
}

test_runtime_alone_has_no_order if {
	runtime := json.patch(policy, [
		{"op": "remove", "path": "/object/spec/egress"},
		{"op": "add", "path": "/object/spec/runtime", "value": {"privileges": {}}},
	])
	count(r18_overlap.violations) == 0 with input as runtime with palisade.clusterwide as overlapping
}
