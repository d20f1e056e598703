package palisade.rules.r58_test

import data.palisade.rules.r58_both

# Two rules about /etc/x, with what each has besides.
rtp(section, accepting, refusing) := {"kind": "RuntimePolicy", "object": {
	"metadata": {"name": "p", "namespace": "shop"},
	"spec": {section: {"rules": [
		object.union({"name": "yes", "action": "Accept", "paths": ["/etc/x", "/etc/y"]}, accepting),
		object.union({"name": "no", "action": "Deny", "paths": ["/etc/x"]}, refusing),
	]}},
}}

test_both[note] if {
	some note, tc in {
		"the same": {"yes": {}, "no": {}, "want": 1},
		"killed": {"yes": {}, "no": {"action": "Kill"}, "want": 1},
		"narrower": {"yes": {"operations": ["Read"], "from": ["/a"], "origins": ["Image"]}, "no": {}, "want": 1},
		"as narrow": {
			"yes": {"operations": ["Read"], "from": ["/a"], "origins": ["Image"]},
			"no": {"operations": ["Read", "Write"], "from": ["/a", "/b"], "origins": ["Image", "Memory"]},
			"want": 1,
		},
		"read, of both": {"yes": {"readOnly": true}, "no": {"operations": ["Read"]}, "want": 1},
		"another path": {"yes": {"paths": ["/etc/z"]}, "no": {}, "want": 0},
		"other operations": {"yes": {"operations": ["Read", "Write"]}, "no": {"operations": ["Write"]}, "want": 0},
		"read and changed": {"yes": {"readOnly": true}, "no": {"readOnly": true}, "want": 0},
		"from one program": {"yes": {}, "no": {"from": ["/a"]}, "want": 0},
		"from another program": {"yes": {"from": ["/b"]}, "no": {"from": ["/a"]}, "want": 0},
		"not from its children": {"yes": {"from": ["/a"]}, "no": {"from": ["/a"], "includeDescendants": false}, "want": 0},
		"of one origin": {"yes": {}, "no": {"origins": ["Memory"]}, "want": 0},
		"of whom it is not": {"yes": {}, "no": {"ownerOnly": true}, "want": 0},
		"observed": {"yes": {}, "no": {"action": "Audit"}, "want": 0},
		"both accepted": {"yes": {}, "no": {"action": "Accept"}, "want": 0},
	}
	count(r58_both.violations) == tc.want with input as rtp("files", tc.yes, tc.no)
}

test_field_and_reason if {
	some violation in r58_both.violations with input as rtp("executables", {}, {})
	violation.field == "spec.executables.rules[yes].paths"
	violation.why == "/etc/x is accepted here, and rule no of the same policy has Deny for it, which goes first"
}
