// Package v1alpha1 is Palisade's API: what a person writes, what the schema
// refuses at the door, and what the controller answers in status.
//
// The documentation of every field is normative. Where two objects, two rules
// or two peers could both apply, the field says which one wins. The order of
// judgement is described on [NetworkPolicySpec] and [ClusterwidePolicySpec],
// the meaning of status on [PolicyStatus], and every condition type and reason
// in conditions.go.
//
// Shape is judged here, by the schema and its CEL rules; facts about other
// objects are judged by the admission webhook, never here. A CEL rule carries
// its number in the catalogue of refusals as a trailing "(shape N)" in its
// message, so that a refusal can be looked up.
//
// v1alpha1 only grows: a field is never removed, renamed or given another
// meaning, and every object that a release has ever accepted still decodes.
//
// +kubebuilder:object:generate=true
// +groupName=policy.palisade.dev
package v1alpha1
