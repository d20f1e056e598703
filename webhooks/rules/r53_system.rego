# METADATA
# title: a kill where the cluster itself runs
# description: >-
#   Kill in a namespace of Kubernetes, or of processes of nodes, ends what keeps the
#   cluster going, by a mistake that a Deny would only report. So does an allow-list for
#   processes of nodes that forgets one of them, and then nobody can log in to mend it.
#   Looked at with the labels that namespaces have now.
# custom:
#   rule: 53
#   severity: R
#   kinds: [RuntimePolicy, ClusterwidePolicy]
package palisade.rules.r53_system

import data.palisade.runtime

opt_in := "policy.palisade.dev/allow-kill-in-system"

# One violation per namespace, so that an update that reaches another one is new.
violations contains violation if {
	runtime.enforces(input.object)
	kills
	some where in system
	not opted_in
	violation := {
		"field": runtime.prefix,
		"why": sprintf("a rule kills processes of %s", [where]),
		"fix": sprintf("use Deny, select others, or annotate the policy with %s: \"true\" if that is meant", [opt_in]),
	}
}

# Of nodes an allow-list is refused too.
violations contains violation if {
	runtime.enforces(input.object)
	input.object.spec.subject.nodes
	some section, content in runtime.root
	content["default"] == "Deny"
	not opted_in
	violation := {
		"field": sprintf("%s.%s.default", [runtime.prefix, section]),
		"why": "processes of nodes, among them the kubelet, the container runtime and who logs in, may do nothing there but what rules accept",
		"fix": sprintf("deny by rules, begin with mode Audit, or annotate the policy with %s: \"true\" if that is meant", [opt_in]),
	}
}

opted_in if input.object.metadata.annotations[opt_in] == "true"

kills if {
	some entry in runtime.entries
	entry.action == "Kill"
}

system contains sprintf("namespace %s", [name]) if {
	some name in selected
	startswith(name, "kube-")
}

system contains "nodes" if input.object.spec.subject.nodes

selected := {input.object.metadata.namespace} if {
	input.kind == "RuntimePolicy"
} else := {name | some name in palisade.namespaces(input.object.spec.subject)}
