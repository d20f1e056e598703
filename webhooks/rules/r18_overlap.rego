# METADATA
# title: clusterwide policies of one tier and priority overlap
# description: >-
#   The order among them is defined (Deny before Accept before Pass, then name)
#   but seldom what their authors had in mind. Looked at over selectors, not only
#   over the pods that exist. Runtime rules need no priority: their order is by
#   action alone.
# custom:
#   rule: 18
#   severity: W
#   kinds: [ClusterwidePolicy]
package palisade.rules.r18_overlap

# One violation per policy, so that an update that meets another one is heard of.
violations contains violation if {
	spec := input.object.spec
	judges_connections(spec)
	some other in palisade.clusterwide(spec.tier, spec.priority)
	other.name != input.object.metadata.name
	other.connections
	palisade.overlap(spec.subject, other.subject)
	violation := {
		"field": "spec.priority",
		"why": sprintf("cwp/%s has the same and may select the same endpoints", [other.name]),
		"fix": "give one of them another priority",
	}
}

judges_connections(spec) if count(object.get(spec, "ingress", [])) > 0

judges_connections(spec) if count(object.get(spec, "egress", [])) > 0
