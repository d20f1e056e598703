# METADATA
# title: an allow-list that lets nothing start
# description: >-
#   What a container starts with has no process before it, so that no Accept with
#   from matches it. What the entrypoint is, only the image says; whether other
#   policies accept it, they say. So this warns of what cannot be right alone.
# custom:
#   rule: 51
#   severity: W
#   kinds: [RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r51_entrypoint

import data.palisade.runtime

violations contains violation if {
	runtime.enforces(input.object)
	runtime.root.executables["default"] == "Deny"
	not accepts
	violation := {
		"field": sprintf("%s.executables.default", [runtime.prefix]),
		"why": "no rule of this policy accepts what a container starts with",
		"fix": "accept origins: [Image], or the entrypoint with its interpreter; nothing to do if another policy does",
	}
}

accepts if {
	some entry in runtime.entries
	entry.section == "executables"
	entry.action in {"Accept", "Except"}
	not entry.rule.from
}
