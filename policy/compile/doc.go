// Package compile turns a cluster's policies and endpoints into what every node
// enforces: sets of snapshot rows.
//
// A Compiler is fed with what exists (PutNamespace, PutEndpoint, PutPolicy,
// PutAddressGroup, SetAPIServer, and their Delete counterparts) and brought up
// to date by Commit, which returns what changed. The rows are a pure function of
// what was fed last, whatever the order in which it came and however it was cut
// into commits: Full, a compiler of one commit, ends with the same bytes.
//
// Node, Common and Digest give the rows as of the last commit; Subjects,
// MissingGroups and Refusals answer what a policy's status asks.
//
// # What is computed
//
// Endpoints that policies cannot tell apart share a kind (package identity). A
// peer that a rule names is a group: decided by the kind (a selector, Cluster,
// World, Host, a named port as resolved) or by the address (a block, an address
// group, APIServer), never by both. A ruleset is what is judged for one kind in
// one direction: the policies that select it. Its cells say, for every set of
// its groups that a peer can be in, which program answers; a program holds the
// whole order of judgement for that set, with ports left as the only question,
// in the enforced and in the staged world.
//
// Of processes a kind has a runtime ruleset for every container that some policy
// names and one for all others: the rules of the policies about it, in the one
// order in which they are judged, each a row of its own. Peers that such a rule
// names by what they are become a ruleset of the network (runtimepeers.go). Pods
// with host networking and nodes are kinds too; no rule of the network is about
// them.
//
//   - groups: group.go; which sets a peer can be in: lens.go
//   - rulesets and cells: ruleset.go; programs: program.go, judge.go, paint.go
//   - rules about processes: runtime.go, their rows: runtimerow.go, who is judged by
//     which: runtimeset.go
//   - what a node gets of all that: node.go, noderows.go, runtimenode.go; what
//     several get, once: share.go
//   - what happens if it does not fit: capacity.go, runtimelimit.go, runtimefit.go,
//     standin.go
//   - in which order all of it happens: commit.go, distribute.go
//
// # What a commit costs
//
// What changed. An endpoint of a known kind costs its address rows and one local
// row. A new kind touches the groups that hold it, the rulesets that tell those
// apart and the nodes that have them. An edited policy computes the programs of
// its rulesets again and writes the cells that differ, or the rows of its runtime
// rules that do. Stats counts the work.
//
// # Endpoints without a node
//
// External workloads and pods that are not scheduled yet are hosted by the node
// with the empty name: Node("") holds the rows that judge them, so that analysis
// can explain them. No agent has that name and nobody publishes it.
package compile
