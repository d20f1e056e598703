// Package webhooks judges, at admission, what needs facts about other objects
// or about effect; shape belongs to the CEL rules of the CRDs.
//
// The rules are Rego files in package rules, one per row of the catalogue. The
// Engine runs them in an embedded OPA against the object that is admitted.
// Nothing is mirrored into OPA's store: rules ask the cluster through built-in
// functions (builtins.go), which read Facts and an Estimator. A new row is a
// new Rego file, and a new built-in if it asks something new.
//
// Whatever goes wrong is a denial: a rule that does not evaluate, a fact that
// cannot be had, a deadline that passes. The webhook only ever sees Palisade's
// own kinds, so a denial stops a change of policy and never a workload.
package webhooks
