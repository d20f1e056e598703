# METADATA
# title: a clusterwide kill that was never in Audit
# description: >-
#   Nobody has seen whom it would have killed. It warns and does not refuse: whoever
#   restores a cluster from Git applies policies that have been in Audit long ago.
# custom:
#   rule: 54
#   severity: W
#   kinds: [ClusterwidePolicy]
package palisade.rules.r54_audit

import data.palisade.runtime

violations contains violation if {
	runtime.enforces(input.object)
	some entry in runtime.entries
	entry.action == "Kill"
	not was_audited(entry)
	violation := {
		"field": sprintf("spec.runtime.%s", [entry.section]),
		"why": sprintf("rule %s kills, and was not in Audit before", [entry.rule.name]),
		"fix": "apply it with mode: Audit first, and see palisade events",
	}
}

# The rule of the same name has been observed, alone or with its policy.
was_audited(entry) if {
	some rule in input.old.spec.runtime[entry.section].rules
	rule.name == entry.rule.name
	observed(rule)
}

observed(rule) if rule.action == "Audit"

observed(_) if input.old.spec.mode == "Audit"
