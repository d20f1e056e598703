// Package palisade is the root of a Kubernetes policy control plane: policies
// in, one exact kernel verdict per packet out, and status that says where each
// policy is in force. It holds no code; this is a tour of the house.
//
// A policy walks through it like this. Somebody applies a NetworkPolicy or a
// ClusterwidePolicy. Its shape is checked by CEL in the CRD; webhooks judges
// what needs facts about other objects. controllers watches it, keeps the spec
// that was accepted, and hands it to the core in policy, where it is translated
// to the words of policy/model, matched with endpoints (policy/index), reduced
// to kinds and groups (policy/identity) and compiled to rows (policy/compile).
// The rows form a snapshot, which is sent to the agents. nodeagent verifies it,
// lays it out for speed and switches the BPF programs of bpf over to it in one
// step; then it acknowledges, and the policy's status says so.
//
// The places:
//
//	api          the kinds that people write: types, CEL rules, conditions
//	policy       the functional core: model, translate, index, identity,
//	             compile, analysis, and the slow reference evaluator
//	snapshot     what a node enforces: rows, digest, delta, signature, wire form
//	controllers  gathers from the API server, publishes snapshots, writes status
//	webhooks     admission: rules in Rego, judged by an embedded OPA
//	nodeagent    one node: receives, verifies, lays out, applies, observes
//	bpf          the programs in C, and the layouts of their maps in Go
//	cmd          the mains: controller, nodeagent, CNI plugin, palisade
//	config       manifests to install from
//	docs         for users; docs/adr holds decisions and what they rest on
//	hack         tooling: local cluster, demo, generators, stages of the tests
//	test         tests that cross packages
//	LICENSES     the licences in full, and what they cover
//
// What holds everywhere: policy and snapshot take values and return values,
// without clock, client or file, and the same input gives the same bytes.
// controllers and nodeagent never import each other; they share api and
// snapshot only. test/arch checks both.
package palisade
