# METADATA
# title: a subject that is the whole namespace
# description: >-
#   An empty selector is how a default-deny is written, and also what is left
#   when a selector was forgotten.
# custom:
#   rule: 17
#   severity: W
#   kinds: [NetworkPolicy, RuntimePolicy]
package palisade.rules.r17_namespaced

import data.palisade.selectors

violations contains violation if {
	some member in ["pods", "externalWorkloads"]
	selectors.empty(input.object.spec.subject[member])
	violation := {
		"field": sprintf("spec.subject.%s", [member]),
		"why": sprintf("it is empty and so selects every one in namespace %s", [input.object.metadata.namespace]),
		"fix": "nothing to do if that is meant; else select by labels",
	}
}
