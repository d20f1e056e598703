# METADATA
# title: a subject that is everybody needs an opt-in
# description: >-
#   A ClusterwidePolicy whose selectors are all empty is about every pod, also
#   those of namespaces that do not exist yet, or about every node. That is often meant and sometimes
#   a forgotten selector, so it has to be said twice.
# custom:
#   rule: 17
#   severity: R
#   kinds: [ClusterwidePolicy]
package palisade.rules.r17_clusterwide

import data.palisade.selectors

opt_in := "policy.palisade.dev/allow-all-subjects"

violations contains violation if {
	some field in everybody
	not input.object.metadata.annotations[opt_in] == "true"
	violation := {
		"field": field,
		"why": "it is empty and so selects the whole cluster",
		"fix": sprintf("select by labels, or annotate the policy with %s: \"true\" if that is meant", [opt_in]),
	}
}

everybody contains "spec.subject.namespaces" if selectors.empty(input.object.spec.subject.namespaces)

everybody contains "spec.subject.nodes" if selectors.empty(input.object.spec.subject.nodes)

everybody contains "spec.subject.pods" if {
	selectors.empty(input.object.spec.subject.pods.namespaceSelector)
	selectors.empty(input.object.spec.subject.pods.podSelector)
}

everybody contains "spec.subject.externalWorkloads" if {
	selectors.empty(input.object.spec.subject.externalWorkloads.namespaceSelector)
	selectors.empty(input.object.spec.subject.externalWorkloads.selector)
}
