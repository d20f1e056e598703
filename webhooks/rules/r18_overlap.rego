# METADATA
# title: clusterwide policies of one tier and priority overlap
# description: >-
#   The order among them is defined (Deny before Accept before Pass, then name)
#   but seldom what their authors had in mind. Looked at over selectors, not only
#   over the pods that exist.
# custom:
#   rule: 18
#   severity: W
#   kinds: [ClusterwidePolicy]
package palisade.rules.r18_overlap

violations contains violation if {
	spec := input.object.spec
	names := sort([other.name |
		some other in palisade.clusterwide(spec.tier, spec.priority)
		other.name != input.object.metadata.name
		palisade.overlap(spec.subject, other.subject)
	])
	count(names) > 0
	violation := {
		"field": "spec.priority",
		"why": sprintf("%s has the same and may select the same endpoints", [who(names)]),
		"fix": "give one of them another priority",
	}
}

who(names) := sprintf("cwp/%s", [names[0]]) if count(names) == 1

who(names) := sprintf("cwp/%s (and %d more)", [names[0], count(names) - 1]) if count(names) > 1
