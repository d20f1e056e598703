# METADATA
# title: one path both accepted and denied
# description: >-
#   Deny and Kill go before Accept, so that what a policy accepts and itself denies
#   under the same conditions is denied, and the Accept says something that is not so.
# custom:
#   rule: 58
#   severity: R
#   kinds: [RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r58_both

import data.palisade.runtime

violations contains violation if {
	some accepting in runtime.entries
	accepting.action == "Accept"
	some refusing in runtime.entries
	refusing.section == accepting.section
	refusing.action in {"Deny", "Kill"}
	some member in ["paths", "directories", "globs"]
	some text in object.get(accepting.rule, member, [])
	text in object.get(refusing.rule, member, [])
	as_wide(refusing.rule, accepting.rule)
	violation := {
		"field": sprintf("%s.%s", [accepting.field, member]),
		"why": sprintf("%s is accepted here, and rule %s of the same policy has %s for it, which goes first", [text, refusing.rule.name, refusing.action]),
		"fix": "remove it from one of the two, or make it an exception until a date",
	}
}

# as_wide holds if whatever an Accept matches by a path, a refusing rule with the same
# path matches too.
as_wide(refusing, accepting) if {
	not refusing.ownerOnly
	from_as_wide(refusing, accepting)
	origins_as_wide(refusing, accepting)
	count(operations(accepting, {"Read"}) - operations(refusing, files - {"Read"})) == 0
}

from_as_wide(refusing, _) if not refusing.from

from_as_wide(refusing, accepting) if {
	count(accepting.from) > 0
	every path in accepting.from {
		path in refusing.from
	}
	descendants(refusing, accepting)
}

descendants(refusing, _) if object.get(refusing, "includeDescendants", true)

descendants(_, accepting) if not object.get(accepting, "includeDescendants", true)

origins_as_wide(refusing, _) if not refusing.origins

origins_as_wide(refusing, accepting) if {
	count(accepting.origins) > 0
	every origin in accepting.origins {
		origin in refusing.origins
	}
}

files := {"Read", "Write", "Create", "Delete", "Rename", "Link", "Attributes", "MapExecutable"}

# operations are those that a rule names; none is all of them, whatever the section.
operations(rule, read_only) := read_only if {
	object.get(rule, "readOnly", false)
} else := {o | some o in rule.operations} if {
	count(rule.operations) > 0
} else := files
